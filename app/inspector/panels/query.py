"""Text queries: scores of the scene for phrases, and a report of unknown or absent phrases."""

from __future__ import annotations

import html
from collections.abc import Callable

import viser

from ....core.query import PRESENT, TextEncoder, TextVectors, template_for
from ...query.search import (
    Answer,
    Mode,
    PhraseAnswer,
    Query,
    QueryableFeatures,
    QueryResult,
    TextEncoderChoice,
    ask,
    read_phrases,
    words_for,
)
from ...scenes.source import SceneState
from ..context import PanelContext
from .controls import note_html
from .search_actions import SearchActions

_MODES: tuple[Mode, ...] = ("Relevancy", "Cosine")


class QueryPanel:
    """Answers text queries in the render thread."""

    def __init__(self, context: PanelContext, actions: SearchActions) -> None:
        self.context, self._actions = context, actions
        self._query: Query | None = None
        gui, guard = context.gui, context.guarded
        self._models = TextEncoderChoice(context.source, context.shared.text)
        self._chosen: str | None = None
        with gui.add_folder("Text query"):
            with gui.add_form(None) as form:
                self._text = gui.add_text("Phrases", "", hint="separate phrases with commas; Enter searches")
                button = gui.add_button("Search", icon=viser.Icon.SEARCH)
            button.on_click(guard(lambda _: form.submit()))
            form.on_submit(guard(lambda _: self._ask()))
            self._answer = gui.add_html(note_html("…"))
            with gui.add_folder("Query options", expand_by_default=False):
                names = self._models.names()
                self._model = gui.add_dropdown(
                    "Model",
                    names or ("None",),
                    hint="text encoder; it has to belong to the model that made the features",
                    visible=len(names) > 1,
                )
                self._model.on_update(guard(lambda _: self._choose(self._model.value)))
                self._mode = gui.add_dropdown(
                    "Score",
                    _MODES,
                    hint="relevancy: similarity relative to the negatives, 0.5 = equal; cosine: plain similarity",
                )
                self._mode.on_update(guard(lambda _: self._rerun_query()))
                self._negatives = gui.add_text("Negatives", "", hint="phrases that count against the query")
                self._template = gui.add_text("Template", "{}", visible=False, hint="sentence; the phrase replaces {}")
                self._always = gui.add_html("")

    @property
    def active(self) -> bool:
        """Whether a query is answered."""
        return self._query is not None

    def forget(self) -> None:
        """Remove the query."""
        if self._query is not None:
            self._query, self.context.model.question = None, ""
            state = self.context.state()
            self._answer.content = "" if state is None else self._greeting(self._queryable(state))

    def search(self, phrases: str) -> None:
        """Ask for phrases, and leave the camera where it is. Render thread."""
        self._text.value = phrases
        self._query = self._typed()
        if self._query is not None:
            self._run(self._query, fly=False)

    def snapshot(self) -> Callable[[SceneState], None]:
        """The present query, as a function that brings it back without asking again."""
        query, question = self._query, self.context.model.question
        text, answer = self._text.value, self._answer.content

        def restore(_: SceneState) -> None:
            self._query, self.context.model.question = query, question
            self._text.value, self._answer.content = text, answer

        return restore

    def renew(self, state: SceneState) -> None:
        """Answer the query again for newer weights or another scene. Render thread."""
        if self._chosen is None:
            self._use(self._models.fitting(state))
        if self._query is not None:
            self._run(self._query, again=True)
        else:
            self._answer.content = self._greeting(self._queryable(state))

    # --- user actions -----------------------------------------------------------------------------------------

    def _ask(self) -> None:
        query = self._typed()
        if query is not None:
            self._actions.remember("query")
            self._query = query
            self.context.ask("query", lambda: self._run(query), urgent=True)

    def _typed(self) -> Query | None:
        """The query that was entered; None without a phrase."""
        phrases = read_phrases(self._text.value)
        if not phrases:
            return None
        negatives = read_phrases(self._negatives.value, "the negatives")
        template = self._template.value.strip()[:200] or "{}"
        return Query(phrases, negatives, template, self._mode.value)

    def _rerun_query(self) -> None:
        if self._query is not None:
            self._ask()

    def _choose(self, name: str) -> None:
        if name == self._chosen:
            return

        def change() -> None:
            self._use(name)
            state = self.context.state()
            if state is not None and self._query is None:
                self._answer.content = self._greeting(self._queryable(state))

        self.context.ask("text model", change, urgent=True)
        self._rerun_query()

    # --- render thread ----------------------------------------------------------------------------------------

    def _use(self, name: str | None) -> None:
        """Change the text encoder, and the template unless the user edited it."""
        before, self._chosen = self._encoder, name
        encoder = self._encoder
        if name is not None and self._model.value != name:
            self._model.value = name
        bare = template_for(encoder) == "{}"
        if self._template.value in ("", "{}", template_for(before)):
            self._template.value = template_for(encoder)
        self._template.visible = not bare
        common = encoder is None or getattr(encoder, "common", None) is not None
        always = "the average word" if common else "object, things, stuff and texture"
        self._always.content = note_html(f"Negatives that are always used: {always}.")

    @property
    def _encoder(self) -> TextEncoder | None:
        return self._models.get(self._chosen)

    def _queryable(self, state: SceneState) -> QueryableFeatures | str:
        """The scene's features, or a sentence that says why there are none to query."""
        channels = getattr(self.context.source, "channels", None)
        return words_for(state, self._encoder, channels, self._models.calibration(self._chosen))

    def _run(self, query: Query, again: bool = False, fly: bool = True) -> None:
        context = self.context
        index = context.view.scene
        state = context.renderer.state(index)
        if state is None:
            return
        features = self._queryable(state)
        if isinstance(features, str):
            self._answer.content = note_html(features)
            return
        answer = ask(features, query)
        context.model.question = ", ".join(phrase for phrase in query.phrases if isinstance(phrase, str))
        self._answer.content = _answer_html(answer, features)
        self._actions.clear_picks()
        if answer.scores is None:  # no phrase is known: the answer before belongs to another question
            self._actions.clear_result()
            return
        relevancy = query.mode == "Relevancy"
        label = "match (0.5: as good as the negatives)" if relevancy else "cosine to the phrases"
        phrases = ", ".join(p.phrase for p in answer.phrases if p.unknown is None)
        result = QueryResult.of(
            answer.scores, state, index, label, phrases, features.min_threshold(answer.scores) if relevancy else None
        )
        self._actions.show_result(state, result, present=answer.any_present, again=again, fly=fly and not again)

    def _greeting(self, features: QueryableFeatures | str) -> str:
        """HTML shown before the first query."""
        if isinstance(features, str):
            return note_html(features)
        encoder = self._encoder
        count = len(encoder) if isinstance(encoder, TextVectors) else len(getattr(encoder, "words", ()))
        vocabulary = f"{count:,} words" if count else "any words" if encoder else ""
        if features.channels is None:
            return note_html(f"Vocabulary: {vocabulary}.")
        names = features.channels.names
        shown = ", ".join(names[:9]) + (f" and {len(names) - 9} more" if len(names) > 9 else "")
        and_more = f" Phrases of {vocabulary} are mapped to them." if vocabulary else ""
        return note_html(f"The teacher's {len(names)} classes: {shown}.{and_more}")


def _answer_html(answer: Answer, features: QueryableFeatures) -> str:
    """A row per phrase: score, threshold, and whether it is in the scene."""
    rows = "".join(_phrase_html(p) for p in answer.phrases)
    rows += "".join(
        f'<div style="grid-column:1/-1;color:#fbbf24">{html.escape(str(u))}</div>' for u in answer.unknown_negatives
    )
    calibration = features.calibration
    how = (
        f"the default {PRESENT:g}"
        if calibration is None
        else f"fitted on {calibration.data or 'scenes with and without the phrase'} (AUC {calibration.auc:.2f})"
    )
    doubts = dict.fromkeys(p.presence.doubt for p in answer.phrases if p.presence is not None and p.presence.doubt)
    rows += "".join(f'<div style="grid-column:1/-1;color:#fbbf24">{html.escape(d)}</div>' for d in doubts)
    if answer.known_phrases:
        rows += f'<div style="grid-column:1/-1;opacity:.6">presence threshold: {how}</div>'
    return (
        '<div style="padding:.2em .9em .4em;font-size:.85em;display:grid;gap:.25em .7em;'
        f'grid-template-columns:1fr max-content max-content;font-variant-numeric:tabular-nums">{rows}</div>'
    )


def _phrase_html(p: PhraseAnswer) -> str:
    if p.unknown is not None:
        return f'<div style="grid-column:1/-1;color:#fbbf24">{html.escape(str(p.unknown))}</div>'
    assert p.presence is not None
    name = html.escape(p.phrase)
    near = ""
    if p.nearest is not None and p.nearest[0]:
        near = (
            '<div style="grid-column:1/-1;opacity:.65;margin-top:-.2em">not a class of the teacher; nearest: '
            f"{html.escape(p.nearest[0])}</div>"
        )
    verdict = p.presence.verdict
    tint = {"found": "#16a34a", "not in this scene": "#b45309"}.get(verdict, "#64748b")
    return (
        f'<b style="overflow-wrap:anywhere">{name}</b><span style="opacity:.7">'
        f"{p.presence.score:.2f} {'&gt;' if p.presence.present else '≤'} {p.presence.cut:.2f}</span>"
        f'<span style="background:{tint};color:white;border-radius:.8em;padding:0 .65em;font-size:.9em">'
        f"{verdict}</span>{near}"
    )
