"""The samples of a data set, from the layouts that data sets come in: one file a layout, one line in `read`."""
