"""Class names, synonyms and phrases of text queries."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gaussiancross.core import query
from gaussiancross.core.errors import InputError
from helpers.query_features import sample_data

NAMES = [
    "bookcase",
    "chair",
    "wine_glass",
    "glass_(drink)",
    "bow_(weapon)",
    "bow_(ribbon)",
    "trousers",
    "knife",
    "T-shirt",
]

SYNONYMS = [["book-shelf"], [], [], ["beaker"], [], [], ["pants"], [], ["tee_shirt"]]


class TestText:
    @pytest.fixture
    def words(self) -> query.TextVectors:
        return query.TextVectors(
            torch.randn(len(NAMES), 6, generator=torch.Generator().manual_seed(0)), NAMES, SYNONYMS
        )

    @pytest.mark.parametrize(
        "phrase,name",
        [
            ("chair", "chair"),
            ("  The CHAIRS! ", "chair"),
            ("The Book-cases", "bookcase"),
            ("wineglass", "wine_glass"),
            ("Bookcases", "bookcase"),
            ("book shelves", "bookcase"),
            ("wine glasses", "wine_glass"),
            ("Glass", "glass_(drink)"),
            ("glasses", "glass_(drink)"),
            ("a trouser", "trousers"),
            ("knives", "knife"),
            ("t shirts", "T-shirt"),
            ("bow (ribbon)", "bow_(ribbon)"),
            ("bow", None),
            ("red chair", None),
            ("", None),
            ("🪑" * 50, None),
        ],
    )
    def test_find(self, words, phrase, name):
        found = words.find(phrase)
        if name is not None:
            assert found == name
            return
        assert isinstance(found, query.UnknownPhrase) and str(found).startswith(f"Unknown phrase '{phrase}'.")

    def test_suggestions(self, words):
        assert words.find("red chair").suggestions[0] == "chair"
        assert "bookcase" in words.find("bokcase").suggestions
        assert "wine_glass" in words.find("wine").suggestions
        assert str(words.find("zzzz")) == "Unknown phrase 'zzzz'."

    def test_encode(self, words):
        assert isinstance(words, query.TextEncoder)
        vectors, known = words.encode(["Chairs", "unicorn", "pants"])
        assert known.tolist() == [True, False, True] and vectors.shape == (3, words.dim)
        assert torch.allclose(vectors.norm(dim=1), torch.tensor([1.0, 0, 1])) and (vectors[1] == 0).all()
        assert words.encode([]).vectors.shape == (0, 6)

    def test_templates(self):
        assert query.expand("red chair") == ["a photo of a red chair"]
        assert query.expand("Armchair", ["a {}", "A {} in a room", "banana {}"]) == [
            "an Armchair",
            "An Armchair in a room",
            "banana Armchair",
        ]
        assert query.expand("{}{0}", query.PLAIN) == ["{}{0}"]
        with pytest.raises(InputError, match="template"):
            query.expand("chair", ["a photo"])

    def test_templates_are_averaged(self):
        class Tower:
            dim = 2

            def encode(self, phrases):
                photo = torch.tensor([p.startswith("a photo") for p in phrases])
                vectors = torch.where(photo[:, None], torch.tensor([5.0, 0]), torch.tensor([0, 1.0]))
                return query.EncodedPhrases(vectors, torch.tensor(["cat" not in p for p in phrases]))

        vectors, known = query.encode(Tower(), ["dog", "cat"], [*query.PHOTO, "{}"])
        assert known.tolist() == [True, False]
        assert torch.allclose(vectors, torch.tensor([[0.5**0.5, 0.5**0.5], [0, 0]]))
        with pytest.raises(InputError, match="at least one phrase"):
            query.encode(Tower(), [])

    def test_load(self, tmp_path):
        np.save(tmp_path / "v.npy", np.eye(2, 4, dtype=np.float16))
        with pytest.raises(InputError, match=r"v_names\.json"):
            query.TextVectors.load(tmp_path / "v.npy")
        names = tmp_path / "v_names.json"
        names.write_text(json.dumps(["cup", {"name": "sofa", "synonyms": ["couch"]}]))
        words = query.TextVectors.load(tmp_path / "v.npy")
        assert (len(words), words.dim, words.find("couches")) == (2, 4, "sofa")
        for text in ('["cup"]', "{", '[{"nom": "cup"}, "sofa"]', "3"):
            names.write_text(text)
            with pytest.raises(InputError, match=r"v_names\.json"):
                query.TextVectors.load(tmp_path / "v.npy")
        (tmp_path / "v.npy").write_bytes(b"not an array")
        with pytest.raises(InputError, match=r"v\.npy"):
            query.TextVectors.load(tmp_path / "v.npy")

    def test_clip_vectors(self):
        path = sample_data("text", "clip_vitb32_lvis.npy")
        words = query.TextVectors.load(path)
        assert len(words) == 1203 and words.dim == 512
        phrases = ("ARMCHAIRS", "couches", "TV", "the wine glasses", "hot air balloon")
        expected = ["armchair", "sofa", "television_set", "wineglass", "hot-air_balloon"]
        assert [words.find(p) for p in phrases] == expected
        assert all(words.find(n.upper().replace("_", "-")) == n for n in words.names)
        # The nearest other names of a sofa are furniture.
        vectors, known = words.encode(list(words.names))
        assert known.all()
        sofa = words.names.index("sofa")
        order = query.relevancy(vectors, vectors[sofa][None], words.common())[:, 0].argsort(descending=True)
        assert order[0] == sofa
        near = {words.names[i] for i in order[1:8]}
        assert near & {"armchair", "loveseat", "sofa_bed", "futon", "cushion", "chaise_longue"}
        # The store's int8 keeps that order although CLIP has a few very long dimensions.
        store = query.FeatureStore.build(vectors, "int8")
        assert store.relevancy(vectors[sofa][None], words.common())[:, 0].argmax() == sofa
