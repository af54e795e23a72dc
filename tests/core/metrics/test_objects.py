"""Zero-shot, few-shot and retrieval scores of objects."""

from __future__ import annotations

import json

import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.metrics.few_shot import draw_episodes, episode_accuracy, few_shot_scores
from gaussiancross.core.metrics.retrieval import match_ranks, recall, reference_rank, retrieval_scores
from gaussiancross.core.metrics.zero_shot import TEMPLATES, class_vectors, zero_shot_scores
from gaussiancross.core.query.text import EncodedPhrases, TextVectors


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestRetrieval:
    @pytest.mark.parametrize("ids", [None, [0, 1, 1, 2, 0, 0, 3, 3, 4]])
    def test_ranks_are_the_definition(self, ids):
        queries, gallery = drawn(9, 4), drawn(9, 4, seed=1)
        expected = [reference_rank(queries[i], gallery, i, ids) for i in range(9)]
        assert match_ranks(queries, gallery, ids=ids).tolist() == expected
        target = torch.tensor([3, 3, 0])
        expected = [reference_rank(queries[i], gallery, int(t), ids) for i, t in enumerate(target)]
        assert match_ranks(queries[:3], gallery, target, ids).tolist() == expected

    def test_ranks_in_parts(self, monkeypatch):
        queries, gallery = drawn(50, 8), drawn(50, 8, seed=1)
        whole = match_ranks(queries, gallery, ids=[i % 7 for i in range(50)])
        monkeypatch.setattr("gaussiancross.core.metrics.retrieval.ROWS_PER_CHUNK", 7)
        assert torch.equal(match_ranks(queries, gallery, ids=[i % 7 for i in range(50)]), whole)

    def test_one_embedding_for_everything_finds_nothing(self):
        assert match_ranks(torch.ones(20, 3), torch.ones(20, 3)).tolist() == [20] * 20

    def test_duplicates_are_no_wrong_answers(self):
        gallery = torch.eye(4)[[0, 0, 1, 2]]
        assert match_ranks(gallery, gallery).tolist() == [2, 2, 1, 1]
        assert match_ranks(gallery, gallery, ids=["chair", "chair", "bed", "lamp"]).tolist() == [1, 1, 1, 1]

    def test_recall(self):
        scores = recall(torch.tensor([1, 2, 6, 11]))
        assert scores == {"R@1": 0.25, "R@5": 0.5, "R@10": 0.75, "MedR": 2.0}

    def test_four_directions(self):
        objects = drawn(12, 6)
        scores = retrieval_scores(objects, objects + 0.01 * drawn(12, 6, seed=2), drawn(12, 6, seed=1))
        assert list(scores) == ["text→3D", "3D→text", "image→3D", "3D→image"]
        assert scores["text→3D"]["R@1"] == scores["3D→text"]["R@1"] == 1 and scores["image→3D"]["R@1"] < 0.5
        assert list(retrieval_scores(objects, objects)) == ["text→3D", "3D→text"]

    def test_refuses(self):
        with pytest.raises(InputError, match="one entry of the gallery"):
            match_ranks(torch.ones(3, 2), torch.ones(2, 2))
        with pytest.raises(InputError, match="3, one per entry, found 1"):
            match_ranks(torch.ones(3, 2), torch.ones(3, 2), ids=["a"])


class TestZeroShot:
    def test_the_templates(self, shared_data):
        path = shared_data / "meta" / "uni3d_templates.json"
        if not path.exists():
            pytest.skip("no list of templates")
        assert list(TEMPLATES) == json.loads(path.read_text())["modelnet40_64"]

    def test_templates_are_averaged_as_unit_vectors(self):
        class Tower:
            dim = 3

            def encode(self, phrases):
                rows = {"a cat": [3.0, 0, 0], "the cat": [0, 0.5, 0], "cat pic": [0, 0, 9]}
                known = torch.tensor([p in rows and p != "cat pic" for p in phrases])
                return EncodedPhrases(torch.tensor([rows.get(p, [0.0, 0, 0]) for p in phrases]), known)

        vector = class_vectors(Tower(), ["cat"], ["a {}", "the {}", "{} pic"])
        torch.testing.assert_close(vector, torch.tensor([[0.5**0.5, 0.5**0.5, 0]]))

    def test_a_dictionary_gets_the_class_name_without_a_template(self):
        words = TextVectors(torch.eye(2), ["night stand", "bed"])
        torch.testing.assert_close(class_vectors(words, ["bed", "night_stand"]), torch.eye(2)[[1, 0]])
        with pytest.raises(InputError, match=r"class 'xbox'.*an unknown one"):
            class_vectors(words, ["bed", "xbox"])

    def test_a_vocabulary_gets_the_class_name_even_if_it_knows_the_template(self):
        class Knows(TextVectors):
            asked: list[str] = []  # noqa: RUF012

            def encode(self, phrases):
                self.asked.extend(phrases)
                return EncodedPhrases(torch.eye(2)[[0] * len(phrases)], torch.ones(len(phrases), dtype=torch.bool))

        class_vectors(Knows(torch.eye(2), ["a", "bed"]), ["bed"])
        assert Knows.asked == ["bed"]

    def test_scores_by_hand(self):
        classes = torch.eye(6)
        objects = torch.tensor([[5.0, 4, 3, 2, 1, 0]] * 4)
        scores = zero_shot_scores(objects, torch.tensor([0, 1, 2, 5]), classes)
        assert scores == {"top1": 0.25, "top3": 0.75, "top5": 0.75, "macc": 0.25}
        uneven = zero_shot_scores(objects, torch.tensor([0, 0, 0, 1]), classes)
        assert uneven["top1"] == 0.75 and uneven["macc"] == 0.5
        assert zero_shot_scores(torch.ones(3, 6), torch.tensor([0, 1, 2]), torch.ones(6, 6))["top5"] == 0

    def test_refuses(self):
        with pytest.raises(InputError, match="classes from 0 to 1, found 0 to 2"):
            zero_shot_scores(torch.ones(2, 3), torch.tensor([0, 2]), torch.ones(2, 3))
        with pytest.raises(InputError, match=r"with one \{\}"):
            class_vectors(TextVectors(torch.eye(2), ["a", "b"]), ["a"], ["no place"])


class TestFewShot:
    LABELS = torch.arange(12).repeat_interleave(40)

    def test_episodes(self):
        episodes = draw_episodes(self.LABELS, ways=5, shots=10)
        assert len(episodes) == 10
        for e in episodes:
            assert len(e.support) == 50 and len(e.query) == 100
            assert not set(e.support.tolist()) & set(e.query.tolist())
            kinds = self.LABELS[e.support].view(5, 10)
            assert (kinds == kinds[:, :1]).all() and len(kinds[:, 0].unique()) == 5
            assert torch.equal(self.LABELS[e.query], kinds[e.query_labels, 0])
        again = draw_episodes(self.LABELS, 5, 10)
        assert all(torch.equal(a.support, b.support) for a, b in zip(episodes, again, strict=True))
        assert not torch.equal(episodes[0].support, episodes[1].support)

    @pytest.mark.parametrize("method", ["ridge", "nearest"])
    def test_separable_classes_are_recognised_and_noise_is_not(self, method):
        centers = drawn(12, 32)
        clear = centers[self.LABELS] + 0.2 * drawn(480, 32, seed=1)
        episodes = draw_episodes(self.LABELS, 10, 5)
        scores = few_shot_scores(clear, episodes, method)
        assert scores["mean"] > 0.99 and scores["std"] < 0.02 and scores["folds"] == 10
        noise = few_shot_scores(drawn(480, 32, seed=2), episodes, method)
        assert noise["mean"] == pytest.approx(0.1, abs=0.06)

    def test_ridge_is_least_squares(self):
        """The dual form against the primal one."""
        x = drawn(480, 16)
        e = draw_episodes(self.LABELS, 3, 4)[0]
        unit = torch.nn.functional.normalize(x.double(), dim=-1)
        s, q = unit[e.support] - unit[e.support].mean(0), unit[e.query] - unit[e.support].mean(0)
        y = torch.nn.functional.one_hot(e.support_labels).double()
        w = torch.linalg.solve(s.T @ s + torch.eye(16, dtype=torch.float64), s.T @ (y - y.mean(0)))
        expected = ((q @ w + y.mean(0)).argmax(1) == e.query_labels).double().mean()
        assert episode_accuracy(x, e) == pytest.approx(float(expected))

    def test_refuses(self):
        with pytest.raises(InputError, match="13 classes with more than 5 objects each, found 12"):
            draw_episodes(self.LABELS, 13, 5)
        with pytest.raises(InputError, match="ridge or nearest"):
            episode_accuracy(drawn(480, 4), draw_episodes(self.LABELS, 2, 2)[0], "svm")  # type: ignore[arg-type]
