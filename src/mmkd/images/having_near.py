"""Which hashes have a near one at all: less work than finding all pairs; N hashes, O those still open, P pairs."""

import numpy as np

from mmkd.images.hamming import Array, Hashes, candidates, crowding, masks

LAGS = (1, 2, 3)  # neighbours in the sorted order that are compared first


def having_near(hashes: Hashes, radius: int) -> Array:
    """Which hashes have another within `radius`, bool (N,). Raises ValueError as `near` does.

    Once a hash is known to have one, it is no longer looked up, so crowded hashes cost little.
    """
    order_N = np.argsort(hashes.hash_N, kind="stable")  # neighbours in it agree in most leading bits
    own = hashes.at(order_N)
    found_N = np.zeros(len(own), bool)

    def mark(query_P: Array, key_P: Array) -> None:
        near_P = (query_P != key_P) & (np.bitwise_count(own.hash_N[query_P] ^ own.hash_N[key_P]) <= radius)
        if own.code_N is not None:
            near_P &= own.code_N[query_P] == own.code_N[key_P]
        found_N[query_P[near_P]] = found_N[key_P[near_P]] = True

    def near_in_table(query_q: Array, key_k: Array) -> Array:
        bits_qk = np.bitwise_count(own.hash_N[open_O[query_q], None] ^ own.hash_N[key_k])
        near_qk: Array = bits_qk <= radius
        return near_qk

    for mask in masks(radius, len(own), len(own), crowding(own, own)):
        masked_N = own.masked(mask)
        place_N = np.argsort(masked_N, kind="stable")
        for lag in LAGS:
            mark(place_N[lag:], place_N[:-lag])
        sorted_N = masked_N[place_N]
        alone_N = np.ones(len(own), bool)
        alone_N[1:] = sorted_N[1:] != sorted_N[:-1]
        alone_N[:-1] &= alone_N[1:]
        shared_N = np.empty(len(own), bool)
        shared_N[place_N] = ~alone_N
        open_O = np.flatnonzero(shared_N & ~found_N)
        for query_P, key_P in candidates(masked_N[open_O], masked_N, near_in_table):
            mark(open_O[query_P], key_P)
    restored_N = np.empty(len(own), bool)
    restored_N[order_N] = found_N
    return restored_N
