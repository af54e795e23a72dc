"""Query: words in, a heat map out; and an honest word about what is unknown or not there."""

from __future__ import annotations

import html

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
from .search_actions import SearchActions

_MODES: tuple[Mode, ...] = ("Relevancy", "Cosine")


class QueryPanel:
    def __init__(self, context: PanelContext, actions: SearchActions) -> None:
        self.context, self._actions = context, actions
        self._question: Query | None = None
        gui, guard = context.gui, context.guarded
        self._models = TextEncoderChoice(context.source, context.shared.text)
        self._chosen: str | None = None
        with gui.add_folder("Ask"):
            with gui.add_form(None) as form:
                self._text = gui.add_text("Words", "", hint="several: with commas between them; Enter asks")
                button = gui.add_button("Ask", icon=viser.Icon.SEARCH)
            button.on_click(guard(lambda _: form.submit()))
            form.on_submit(guard(lambda _: self._ask()))
            self._answer = gui.add_html(_say("…"))
            with gui.add_folder("How it is asked", expand_by_default=False):
                names = self._models.names()
                self._model = gui.add_dropdown(
                    "Model",
                    names or ("None",),
                    hint="whose words: they have to come from the model behind the features",
                    visible=len(names) > 1,
                )
                self._model.on_update(guard(lambda _: self._choose(self._model.value)))
                self._mode = gui.add_dropdown(
                    "Score",
                    _MODES,
                    hint="relevancy: how much more it is the word than any negative, 0.5 = equally; cosine: as it is",
                )
                self._mode.on_update(guard(lambda _: self._again()))
                self._negatives = gui.add_text("Not meant", "", hint="words that count against it; Enter is not needed")
                self._template = gui.add_text("Template", "{}", visible=False, hint="{} stands for the words")
                self._always = gui.add_html("")

    @property
    def asking(self) -> bool:
        """Whether what is shown is an answer."""
        return self._question is not None

    def forget(self) -> None:
        """Something else is looked for."""
        if self._question is not None:
            self._question = None
            state = self.context.state()
            self._answer.content = "" if state is None else self._greeting(self._words(state))

    def renew(self, state: SceneState) -> None:
        """Newer weights, or another scene: the same question again. In the render thread."""
        if self._chosen is None:
            self._use(self._models.fitting(state))
        if self._question is not None:
            self._run(self._question, again=True)
        else:
            self._answer.content = self._greeting(self._words(state))

    # --- what people do -------------------------------------------------------------------------------------

    def _ask(self) -> None:
        phrases = read_phrases(self._text.value)
        if not phrases:
            return
        negatives = read_phrases(self._negatives.value, "what is not meant")
        template = self._template.value.strip()[:200] or "{}"
        self._question = Query(phrases, negatives, template, self._mode.value)
        question = self._question
        self.context.ask("query", lambda: self._run(question), urgent=True)

    def _again(self) -> None:
        if self._question is not None:
            self._ask()

    def _choose(self, name: str) -> None:
        if name == self._chosen:
            return

        def change() -> None:
            self._use(name)
            state = self.context.state()
            if state is not None and self._question is None:
                self._answer.content = self._greeting(self._words(state))

        self.context.ask("text model", change, urgent=True)
        self._again()

    # --- in the render thread -------------------------------------------------------------------------------

    def _use(self, name: str | None) -> None:
        """Ask with that model from now on; its own template, unless another one was written."""
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
        self._always.content = _say(f"What is always asked against: {always}.")

    @property
    def _encoder(self) -> TextEncoder | None:
        return self._models.get(self._chosen)

    def _words(self, state: SceneState) -> QueryableFeatures | str:
        channels = getattr(self.context.source, "channels", None)
        return words_for(state, self._encoder, channels, self._models.calibration(self._chosen))

    def _run(self, question: Query, again: bool = False) -> None:
        context = self.context
        index = context.view.scene
        state = context.renderer.state(index)
        if state is None:
            return
        words = self._words(state)
        if isinstance(words, str):
            self._answer.content = _say(words)
            return
        answer = ask(words, question)
        self._answer.content = _answered(answer, words)
        if answer.scores is None:
            return
        self._actions.clear_picks()
        relevancy = question.mode == "Relevancy"
        label = "relevancy, 0.5 = as much as another word" if relevancy else "cosine to the words"
        known = ", ".join(p.phrase for p in answer.phrases if p.unknown is None)
        found = QueryResult.of(
            answer.scores, state, index, label, known, words.least(answer.scores) if relevancy else None
        )
        self._actions.show_result(state, found, present=answer.somewhere, again=again)

    def _greeting(self, words: QueryableFeatures | str) -> str:
        if isinstance(words, str):
            return _say(words)
        encoder = self._encoder
        count = len(encoder) if isinstance(encoder, TextVectors) else len(getattr(encoder, "words", ()))
        known = f"{count:,} words" if count else "any words" if encoder else ""
        if words.channels is None:
            return _say(f"Knows {known}.")
        names = words.channels.names
        shown = ", ".join(names[:9]) + (f" and {len(names) - 9} more" if len(names) > 9 else "")
        and_more = f" And {known} for what is like them." if known else ""
        return _say(f"Knows the {len(names)} classes of the teacher: {shown}.{and_more}")


def _answered(answer: Answer, words: QueryableFeatures) -> str:
    rows = "".join(_row(p) for p in answer.phrases)
    rows += "".join(
        f'<div style="grid-column:1/-1;color:#fbbf24">{html.escape(str(u))}</div>' for u in answer.unknown_negatives
    )
    fitted = words.calibration
    how = (
        f"the default {PRESENT:g}" if fitted is None else f"fitted on scenes with and without it (AUC {fitted.auc:.2f})"
    )
    if answer.known:
        rows += f'<div style="grid-column:1/-1;opacity:.6">cut: {how}</div>'
    return (
        '<div style="padding:.2em .9em .4em;font-size:.85em;display:grid;gap:.25em .7em;'
        f'grid-template-columns:1fr max-content max-content;font-variant-numeric:tabular-nums">{rows}</div>'
    )


def _row(p: PhraseAnswer) -> str:
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
    tint, verdict = ("#16a34a", "found") if p.presence.present else ("#b45309", "not in this scene")
    return (
        f'<b style="overflow-wrap:anywhere">{name}</b><span style="opacity:.7">'
        f"{p.presence.score:.2f} {'&gt;' if p.presence.present else '≤'} {p.presence.cut:.2f}</span>"
        f'<span style="background:{tint};color:white;border-radius:.8em;padding:0 .65em;font-size:.9em">'
        f"{verdict}</span>{near}"
    )


def _say(text: str) -> str:
    return f'<div style="padding:.2em .9em .4em;font-size:.85em;opacity:.8">{html.escape(text)}</div>'
