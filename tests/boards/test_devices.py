import pytest

from celosia.boards.devices import DEVICES, find_device
from celosia.boards.floorplan import array_sites


@pytest.mark.parametrize("name", DEVICES)
def test_finds_by_name(name):
    assert find_device(name).name == name


def test_lists_what_there_is():
    with pytest.raises(ValueError, match=r"^Unknown device 'ecp6'; known are ecp5-25f, ecp5-45f, ecp5-85f, ice40-"):
        find_device("ecp6")


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (8, 8), (16, 8), (4, 39), (13, 12), (52, 3), (7, 5)])
def test_every_multiplier_has_a_place_of_its_own(rows, cols):
    sites = array_sites(find_device("ecp5-85f"), rows, cols)
    assert sites.keys() == {f"pe_{row}_{col}.multiplier.dsp" for row in range(rows) for col in range(cols)}
    assert len(set(sites.values())) == rows * cols


@pytest.mark.parametrize(("device", "rows", "cols"), [("ecp5-85f", 53, 1), ("ecp5-85f", 12, 13), ("ice40-up5k", 2, 2)])
def test_no_places_where_columns_do_not_fit(device, rows, cols):
    assert array_sites(find_device(device), rows, cols) == {}
