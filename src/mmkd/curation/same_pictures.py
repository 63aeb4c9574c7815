"""Groups of records for which no group is given: those that have a picture in common are of one group.

N records of all shards, P of them with a picture that others have too.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mmkd.images.hamming import Array


class Members(NamedTuple):
    """Keys of the image bytes and of the group of each record, and whether its source gives the group, all (N,)."""

    picture_N: Array
    group_N: Array
    grouped_N: Array


def group_holders(members: Members, are_flat: Callable[[Array], Array]) -> tuple[Array, Array]:
    """Records whose own group becomes another's (Q,), and the record that has that group (Q,).

    A group that is given stays. Groups of records without one are joined where they share a picture, to the group that
    is given for it, else to the first record's. A flat picture (of a single grey level) is no sign where a group has
    others: empty slices are in many volumes. are_flat: places of records, ascending -> whether their pictures are.
    """
    picture_N, group_N, grouped_N = members
    place_P = np.flatnonzero(_shared(picture_N))
    grouped_P = grouped_N[place_P]
    if grouped_P.all():
        return place_P[:0], place_P[:0]
    # imported where it is needed: most corpora get no further
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    picture_P, group_P = _numbered(picture_N[place_P]), _numbered(group_N[place_P])
    joins_P = ~grouped_P
    doubtful = np.flatnonzero(joins_P & _of_several(members, place_P))
    joins_P[doubtful] = ~are_flat(place_P[doubtful])
    pictures = int(picture_P.max()) + 1
    nodes = pictures + int(group_P.max()) + 1
    edges = (np.ones(int(joins_P.sum()), bool), (picture_P[joins_P], pictures + group_P[joins_P]))
    _, component_X = connected_components(coo_array(edges, shape=(nodes, nodes)), directed=False)
    component_P = component_X[np.where(grouped_P, picture_P, pictures + group_P)]
    order_P = np.lexsort((place_P, ~grouped_P, component_P))  # of each component what is given first, then in order
    first, component = np.unique(component_P[order_P], return_index=True)[::-1]
    holder_P = place_P[order_P[first]][np.searchsorted(component, component_P)]
    moved_P = ~grouped_P & (group_N[holder_P] != group_N[place_P])
    return place_P[moved_P], holder_P[moved_P]


def _of_several(members: Members, place_P: Array) -> Array:
    """Whether the own group of each record (P,) has several pictures."""
    picture_N, group_N, grouped_N = members
    row_R = np.flatnonzero(~grouped_N & np.isin(group_N, group_N[place_P]))
    pairs = np.unique(np.stack([group_N[row_R], picture_N[row_R]]), axis=1)[0]
    groups, counts = np.unique(pairs, return_counts=True)
    several: Array = np.isin(group_N[place_P], groups[counts > 1])
    return several


def _shared(key_N: Array) -> Array:
    """Whether another record has the same key."""
    _, number_N, counts = np.unique(key_N, return_inverse=True, return_counts=True)
    shared_N: Array = counts[number_N] > 1
    return shared_N


def _numbered(key_P: Array) -> Array:
    """0.. for each distinct key, in place of the key."""
    number_P: Array = np.unique(key_P, return_inverse=True)[1]
    return number_P
