"""The executors that a recipe's `[executor]` may name; a new one is a file beside this one and a line here."""

from mmkd.executors.local import LocalSettings

AnyExecutor = LocalSettings
