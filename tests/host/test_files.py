import numpy as np
import pytest

from celosia.host.files import replacing, write_arrays


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "out.bin"
    with replacing(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_changes_nothing(tmp_path, error):
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")

    def write_half() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "none" / "out.bin"):
        pass


def test_numpy_reads_the_arrays_back(tmp_path):
    arrays = {"a": np.arange(6, dtype=np.int16).reshape(2, 3), "b": np.float64(1.5), "c": np.array(["x", "yz"])}
    contents = []
    for _ in range(2):
        with (tmp_path / "arrays.npz").open("wb") as file:
            write_arrays(file, {name: np.asarray(array) for name, array in arrays.items()})
        contents.append((tmp_path / "arrays.npz").read_bytes())
    assert contents[0] == contents[1]
    with np.load(tmp_path / "arrays.npz", allow_pickle=False) as read:
        assert list(read) == list(arrays)
        assert all(np.array_equal(read[name], array) for name, array in arrays.items())


def test_objects_are_never_written(tmp_path):
    with (tmp_path / "arrays.npz").open("wb") as file, pytest.raises(ValueError, match="allow_pickle=False"):
        write_arrays(file, {"a": np.array([print], dtype=object)})
