"""The one-shot runs: reading, content hash, and one-line errors."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import cdist

from metarun.data import lake
from metarun.data.preparation.omniglot_images import decode, shrink
from metarun.errors import Refused
from tests.drawings import one_shot_runs, png, zipped

ADDRESS = "/one-shot-classification/all_runs.zip"


@pytest.fixture(scope="module")
def official() -> tuple[dict[str, bytes], np.ndarray]:
    return one_shot_runs()


@pytest.fixture
def contents(official, monkeypatch) -> dict[str, bytes]:
    """Small runs, with the content hash patched to match."""
    contents, labels = official
    drawings: dict[str, dict[str, np.ndarray]] = {}
    for path, content in contents.items():
        if path.endswith(".png"):
            half, _, file = path.rpartition("/")
            ink = ~np.asarray(Image.open(io.BytesIO(content)))
            drawings.setdefault(half, {})[file] = ink
    monkeypatch.setattr(lake, "CONTENT", lake.content(drawings, labels))
    return dict(contents)


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "Größe [1], a=b").mkdir()
    return tmp_path / "Größe [1], a=b"


def folder(path: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def refusal(root: Path, url: str = "http://127.0.0.1:9") -> str:
    before = sorted(root.rglob("*"))
    with pytest.raises(Refused) as refused:
        lake.read_runs(str(root), url)
    (line,) = refused.value.mistakes
    assert "\n" not in line
    assert sorted(root.rglob("*")) == before
    return line


class TestReading:
    def test_each_query_has_the_label_of_its_line(self, contents, official, root, no_network):
        zipped(root / "all_runs.zip", contents)
        runs = lake.read_runs(str(root), no_network)
        assert runs.support.shape == runs.query.shape == (20, 20, 1, 28, 28)
        assert np.array_equal(runs.labels, official[1])
        for support, query, labels in zip(runs.support, runs.query, runs.labels, strict=True):
            a, b = (half.reshape(20, -1).astype(float) for half in (query, support))
            assert np.array_equal(cdist(a, b).argmin(1), labels)  # a query resembles its class

    def test_ink_is_bright_and_a_pixel_is_the_mean_of_its_area(self, contents, root, no_network):
        zipped(root / "all_runs.zip", contents)
        runs = lake.read_runs(str(root), no_network)
        image = Image.open(io.BytesIO(contents["run03/training/class07.png"]))
        fine = (~np.asarray(image)).repeat(4, axis=0).repeat(4, axis=1)
        share = 255 * fine.reshape(28, 15, 28, 15).mean(axis=(1, 3))
        assert np.abs(runs.support[2, 6, 0] - share).max() <= 0.5 + 1e-9

    @pytest.mark.parametrize("place", ["", "one-shot-classification"])
    @pytest.mark.parametrize("prefix", ["", "all_runs/"])
    def test_the_container_does_not_matter(self, contents, root, no_network, place, prefix):
        (root / place).mkdir(exist_ok=True)
        inside = {prefix + name: content for name, content in contents.items()}
        zipped(root / place / "all_runs.zip", inside)
        one = lake.read_runs(str(root), no_network)
        (root / place / "all_runs.zip").unlink()
        folder(root / place / "all_runs", contents)
        two = lake.read_runs(str(root), no_network)
        assert one.sha256 == two.sha256
        assert all(np.array_equal(getattr(one, k), getattr(two, k)) for k in ("query", "labels"))

    def test_the_hash_depends_on_every_item_and_label(self, contents, root, no_network):
        zipped(root / "all_runs.zip", contents)
        runs = lake.read_runs(str(root), no_network)
        hashes = {runs.sha256}
        for name in ("support", "query", "labels"):
            arrays = {k: getattr(runs, k).copy() for k in ("support", "query", "labels")}
            arrays[name][-1, -1] ^= 1
            hashes.add(lake.Runs(**arrays).sha256)
        assert len(hashes) == 4

    def test_gather_returns_runs_by_number(self, contents, root, no_network):
        zipped(root / "all_runs.zip", contents)
        runs = lake.read_runs(str(root), no_network)
        x, y, query_x, query_y = runs.gather([(np.array(7),), (np.array(2),)], 1)
        assert np.array_equal(x, runs.support[[7, 2]])
        assert y.tolist() == [list(range(20))] * 2
        assert np.array_equal(query_x, runs.query[[7, 2]])
        assert np.array_equal(query_y, runs.labels[[7, 2]])


class TestAnswers:
    def lines(self) -> list[str]:
        return [f"run04/test/item{n:02d}.png run04/training/class{21 - n:02d}.png"
                for n in range(1, 21)]  # fmt: skip

    def test_they_are_in_the_order_of_the_items(self):
        lines = self.lines()[::-1]
        text = "\r\n".join(lines) + "\n\n"
        assert lake.answers(text, "x/run04/class_labels.txt") == list(range(19, -1, -1))

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("run04/test/item01.png", "run05/test/item01.png"),
            ("item01.png", "item02.png"),
            ("class01.png", "class02.png"),
            ("class01.png", "class21.png"),
            (" ", ""),
            ("run04/test", "../run04/test"),
        ],
    )
    def test_anything_else_is_refused(self, old, new):
        text = "\n".join(self.lines()).replace(old, new)
        with pytest.raises(Refused, match=r"^a: run04/class_labels\.txt should have 20 lines"):
            lake.answers(text, "a: run04/class_labels.txt")

    def test_too_many_and_too_few(self):
        for lines in (self.lines() * 2, self.lines()[:-1], []):
            with pytest.raises(Refused):
                lake.answers("\n".join(lines), "a: run04/class_labels.txt")


class TestRefusing:
    @pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
    def test_not_a_zip_file(self, contents, root, content):
        (root / "all_runs.zip").write_bytes(content)
        assert refusal(root).startswith(f"{root / 'all_runs.zip'}: not a whole zip file")

    def test_a_zip_cut_short(self, contents, root):
        path = zipped(root / "all_runs.zip", contents)
        path.write_bytes(path.read_bytes()[:-5000])
        assert "not a whole zip file" in refusal(root)

    def test_files_that_are_missing(self, contents, root):
        del contents["run20/class_labels.txt"], contents["run07/test/item03.png"]
        zipped(root / "all_runs.zip", contents)
        line = refusal(root)
        assert "2 files missing (run07/test/item03.png, run20/class_labels.txt)" in line

    def test_an_empty_folder(self, contents, root):
        (root / "all_runs").mkdir()
        assert "820 files missing (run01/class_labels.txt" in refusal(root)

    def test_swapped_answers(self, contents, root):
        name = "run11/class_labels.txt"
        contents[name] = contents[name].replace(b"class01", b"class??")
        contents[name] = contents[name].replace(b"class02", b"class01")
        contents[name] = contents[name].replace(b"class??", b"class02")
        zipped(root / "all_runs.zip", contents)
        assert "altered" in refusal(root)

    def test_a_pixel_altered(self, contents, root):
        name = "run11/test/item13.png"
        ink = ~np.asarray(Image.open(io.BytesIO(contents[name])))
        ink[50, 50] ^= True
        zipped(root / "all_runs.zip", contents | {name: png(ink)})
        assert "altered" in refusal(root)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "not a PNG"),
            (b"\x80\x04cposix\nsystem\n", "not a PNG"),
            (png(np.zeros((28, 28), bool)), "28×28 pixels"),
            (png(np.zeros((105, 105), bool))[:60], ""),
        ],
    )
    def test_a_broken_image(self, contents, root, content, reason):
        zipped(root / "all_runs.zip", contents | {"run11/test/item13.png": content})
        line = refusal(root)
        assert "all_runs.zip: run11/test/item13.png cannot be read" in line
        assert reason in line

    @pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"run11/test/item01.png\n" * 20])
    def test_broken_answers(self, contents, root, content):
        zipped(root / "all_runs.zip", contents | {"run11/class_labels.txt": content})
        assert "all_runs.zip: run11/class_labels.txt should have 20 lines" in refusal(root)

    def test_a_bomb(self, contents, root):
        contents["run11/class_labels.txt"] = bytes(1 << 21)
        with zipfile.ZipFile(root / "all_runs.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in contents.items():
                file.writestr(name, content)
        assert "run11/class_labels.txt unpacks to more than is plausible" in refusal(root)

    @pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read anything")
    def test_a_file_without_rights(self, contents, root):
        path = folder(root / "all_runs", contents) / "run01" / "test" / "item01.png"
        path.chmod(0)
        assert str(path) in refusal(root)


class TestDownloading:
    @pytest.fixture
    def served(self, contents, web, monkeypatch, tmp_path) -> str:
        content = zipped(tmp_path / "served.zip", contents).read_bytes()
        web.files[ADDRESS] = content
        monkeypatch.setattr(lake, "CHECKSUM", f"sha256:{hashlib.sha256(content).hexdigest()}")
        return web.url

    def test_a_missing_archive_is_downloaded_once(self, served, root, web):
        first = lake.read_runs(str(root), f"{served}/")
        assert [path.name for path in root.iterdir()] == ["all_runs.zip"]
        web.files.clear()
        assert lake.read_runs(str(root), served).sha256 == first.sha256

    def test_cut_off_half_way(self, served, root, web):
        web.cut.add(ADDRESS)
        line = refusal(root, served)
        assert "the connection was cut off" in line
        assert f"put {served}{ADDRESS} into data.root={root}" in line

    def test_another_file_in_its_place(self, served, root, web):
        web.files[ADDRESS] += b"!"
        assert "not the expected file" in refusal(root, served)

    def test_missing_on_the_server(self, contents, root, web):
        assert "HTTP 404" in refusal(root, web.url)

    def test_no_network(self, contents, root, no_network):
        line = refusal(root, no_network)
        assert "no connection" in line
        assert f"{ADDRESS} into data.root={root}" in line


class TestTheRealOnes:
    @pytest.fixture
    def real(self, real_data) -> Path:
        if not (real_data / "omniglot" / "all_runs.zip").is_file():
            pytest.skip(f"no all_runs.zip in {real_data / 'omniglot'}")
        return real_data / "omniglot"

    def test_the_file_is_the_official_one(self, real):
        content = (real / "all_runs.zip").read_bytes()
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == lake.CHECKSUM

    def test_the_labels_of_the_first_run(self, real, no_network):
        """The labels in run01/class_labels.txt."""
        runs = lake.read_runs(str(real), no_network)
        read = [8, 9, 2, 19, 10, 18, 13, 1, 4, 11, 17, 3, 20, 7, 12, 5, 6, 15, 14, 16]
        assert (runs.labels[0] + 1).tolist() == read

    def test_labels_agree_with_the_evaluation_set(self, real_omniglot, real, no_network):
        """A run is 20 characters of one alphabet, shown by one person and asked by another."""
        known: dict[bytes, tuple[str, str]] = {}
        for character, files in decode([real_omniglot / "images_evaluation.zip"]).items():
            inks = np.stack(list(files.values()))
            for file, small in zip(files, shrink(inks), strict=True):
                known[small.tobytes()] = (character, file[-6:-4])
        runs = lake.read_runs(str(real), no_network)
        for support, query, labels in zip(runs.support, runs.query, runs.labels, strict=True):
            shown = [known[item.tobytes()] for item in support]
            asked = [known[item.tobytes()] for item in query]
            assert len({character for character, _ in shown}) == 20
            assert len({character.split("/")[0] for character, _ in shown}) == 1
            assert [character for character, _ in asked] == [shown[n][0] for n in labels]
            (one,), (other,) = ({person for _, person in half} for half in (shown, asked))
            assert one != other

    @pytest.mark.slow
    def test_the_authors_baseline_reaches_its_published_error(self, real, no_network):
        """Modified Hausdorff distance between ink, 38.8 % (their demo; Dubuisson & Jain, 1994).

        It reads the full-size drawings by the names of their files, and is judged by our labels.
        """
        labels = lake.read_runs(str(real), no_network).labels
        with zipfile.ZipFile(real / "all_runs.zip") as archive:

            def points(name: str) -> np.ndarray:
                image = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("L"))
                found = np.argwhere(image == 0).astype(float)
                return found - found.mean(0)

            errors = []
            for run, answers in enumerate(labels, start=1):
                place = f"run{run:02d}"
                shown = [points(f"{place}/training/class{n:02d}.png") for n in range(1, 21)]
                asked = [points(f"{place}/test/item{n:02d}.png") for n in range(1, 21)]
                costs = [[_hausdorff(a, b) for b in shown] for a in asked]
                errors.append(100 * np.mean(np.argmin(costs, axis=1) != answers))
        assert np.mean(errors) == pytest.approx(38.8, abs=0.05)

    def test_the_nearest_pixels_are_far_worse_than_people_and_far_better_than_chance(
        self, real, no_network
    ):
        runs = lake.read_runs(str(real), no_network)
        wrong = []
        for support, query, labels in zip(runs.support, runs.query, runs.labels, strict=True):
            a, b = (half.reshape(20, -1).astype(float) for half in (query, support))
            wrong.append(cdist(a, b).argmin(1) != labels)
        assert 0.5 < np.mean(wrong) < 0.85


def _hausdorff(a: np.ndarray, b: np.ndarray) -> float:
    distances = cdist(a, b)
    return max(distances.min(0).mean(), distances.min(1).mean())
