"""Safe reading of pickles: arrays and containers of Python 2 and 3, and nothing else."""

from __future__ import annotations

import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarun.data.preparation.pickles import unpickle

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats(allow_nan=False)
    | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


class TestWhatIsRead:
    @settings(max_examples=50, deadline=None)
    @given(st.dictionaries(st.text(), PLAIN), st.sampled_from([2, 3, 4, 5]))
    def test_plain_containers_are_unchanged(self, content, protocol):
        assert unpickle(pickle.dumps(content, protocol)) == content

    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    @pytest.mark.parametrize(
        "array",
        [
            np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
            np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
            np.arange(5, dtype=">i2"),
            np.zeros((0, 3072), np.uint8),
            np.array([True, False]),
        ],
    )
    def test_arrays_of_numbers_are_unchanged(self, array, protocol):
        for content in ({"data": array}, {b"data": array}):
            found = unpickle(pickle.dumps(content, protocol))["data"]
            assert np.array_equal(found, array)
            assert (found.dtype, found.shape) == (array.dtype, array.shape)

    def test_numpy_scalars_become_python_numbers(self):
        found = unpickle(pickle.dumps({"labels": list(np.arange(3))}, 4))["labels"]
        assert found == [0, 1, 2]
        assert {type(n) for n in found} == {int}

    def test_pickles_of_python_2(self):
        """The instructions that cPickle writes for `{'data': array, 'fine_labels': …}`."""
        raw = bytes(range(250, 256))
        array = (
            b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87"
            b"Rq\x05(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07"
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
            b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
        )
        content = b"\x80\x02}q\x01(U\x04dataq\x02" + array + b"U\x0bfine_labelsq\x08](K\x07K\x63eu."
        found = unpickle(content)
        assert pickle.loads(content, encoding="latin1")["data"].tolist() == found["data"].tolist()
        assert found["data"].tolist() == [[250, 251, 252], [253, 254, 255]]
        assert found["fine_labels"] == [7, 99]


class Called:
    """An object whose pickle calls `function`."""

    def __init__(self, function, *args) -> None:
        self.call = (function, args)

    def __reduce__(self):
        return self.call


class Plain:
    pass


def an_array(shape: bytes, dtype: bytes, raw: bytes) -> bytes:
    """The pickle of an array with arbitrary parts."""
    return (
        b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b"
        b"\x87R(K\x01" + shape + b"cnumpy\ndtype\nU" + bytes([len(dtype)]) + dtype
        + b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + raw + b"tbs."
    )  # fmt: skip


class TestWhatIsRefused:
    @pytest.mark.parametrize("protocol", range(6))
    @pytest.mark.parametrize(
        "attack",
        [
            lambda mark: Called(os.system, f"touch {mark}"),
            lambda mark: Called(os.mkdir, str(mark)),
            lambda mark: Called(eval, f"open({str(mark)!r}, 'w')"),
            lambda mark: Called(getattr, "", "__class__"),
            lambda mark: Called(np.save, str(mark), np.zeros(3)),
        ],
    )
    @pytest.mark.parametrize("place", [lambda a: {"data": a}, lambda a: [{"x": (a,)}], lambda a: a])
    def test_a_call_is_never_made(self, tmp_path, attack, protocol, place):
        mark = tmp_path / "was here"
        content = pickle.dumps(place(attack(mark)), protocol)
        with pytest.raises(ValueError, match=r"never called|holds more than"):
            unpickle(content)
        assert not mark.exists()

    def test_the_error_names_the_function(self):
        with pytest.raises(ValueError, match=r"refers to 'posix\.system', which is never called"):
            unpickle(pickle.dumps({"data": Called(os.system, "true")}, 2))

    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    @pytest.mark.parametrize(
        "value",
        [Plain(), Plain, np.array([{}], dtype=object), np.zeros(2, "i4,f4"), {1}, np.array(["a"])],
        ids=["instance", "class", "objects", "records", "set", "strings"],
    )
    def test_other_objects_are_not_read(self, value, protocol):
        with pytest.raises(ValueError):
            unpickle(pickle.dumps({"data": value}, protocol))

    @pytest.mark.parametrize(
        ("shape", "dtype", "raw"),
        [
            (b"K\x04\x85", b"u1", b"U\x03abc"),
            (b"J\xff\xff\xff\xff\x85", b"u1", b"U\x03abc"),
            (b"K\x01\x85", b"O8", b"U\x08abcdefgh"),
            (b"K\x01\x85", b"O8", b"]K\x01a"),
            (b"K\x01\x85", b"V8", b"U\x08abcdefgh"),
            (b"K\x02\x85", b"f1", b"U\x02ab"),
            (b"\x8a\x09" + b"\xff" * 8 + b"\x7f\x85", b"u1", b"U\x03abc"),
            (b"N", b"u1", b"U\x03abc"),
        ],
    )
    def test_invalid_arrays_are_refused(self, shape, dtype, raw):
        with pytest.raises(ValueError, match="array"):
            unpickle(an_array(shape, dtype, raw))

    def test_the_same_array_with_valid_parts_is_read(self):
        assert unpickle(an_array(b"K\x03\x85", b"u1", b"U\x03abc"))["data"].tolist() == [97, 98, 99]

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x80\x02",
            b"\x80\x02.",
            b"not a pickle",
            pickle.dumps([1]),
            pickle.dumps({1: 2}),
            b"\x80\x02}j\xff\xff\xff\xff.",  # refers to an object that was not memoized
            b"\x80\x02}(K\x01u.",  # a key without a value
            b"\x80\x02}}b.",
            b"\x80\x02}a.",
            b"\x80\x02Ks.",
            b"\x80\x02T\xff\xff\xff\x7fabc.",  # states a string of two gigabytes
            b"\x80\x04\x96" + b"\xff" * 7 + b"\x7fabc.",
            b"\x80\x02}q\x00U\x01ah\x00s}q\x01h\x00s.",
            b"\x80\x02}U\x01ac__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85Rs.",  # 2 GB of zeros
            b"\x80\x02}U\x01acnumpy\ndtype\n)bs.",  # state for a class
            b"\x80\x02}U\x01ac_codecs\nencode\n}U\x0c__defaults__)sbs.",  # state for a function
            b"\x80\x02}U\x01acnumpy\nndarray\n)Rs.",
        ],
    )
    def test_damaged_pickles_are_refused(self, content):
        with pytest.raises(ValueError):
            unpickle(content)

    def test_small_files_use_little_memory(self):
        """The C unpickler would allocate gigabytes for its memo."""
        content = b"\x80\x02}r\xff\xff\xff\x7f."
        assert unpickle(content) == {}

    @pytest.mark.parametrize("deeper", [b"q\x00h\x00\x86" * 100, b"\x85" * 1_000_000])
    def test_tuples_in_tuples_do_not_hang(self, deeper):
        content = b"\x80\x02}" + b"K\x01" + deeper + b"K\x01s."
        with pytest.raises(ValueError, match="keys that are not strings"):
            unpickle(content)

    def test_too_many_instructions(self, monkeypatch):
        monkeypatch.setattr("metarun.data.preparation.pickles.INSTRUCTIONS", 100)
        with pytest.raises(ValueError, match="plausible"):
            unpickle(pickle.dumps({"labels": [1] * 200}, 2))

    @settings(max_examples=50, deadline=None)
    @given(st.data())
    def test_random_damage_raises_value_error_only(self, data):
        array = np.arange(6, dtype=np.uint8).reshape(2, 3)
        protocol = data.draw(st.sampled_from([2, 3, 4, 5]))
        content = bytearray(pickle.dumps({"data": array, "labels": [1, "a", (2.0,)]}, protocol))
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        try:
            assert isinstance(unpickle(bytes(content)), dict)
        except ValueError as error:
            assert "\n" not in str(error)
