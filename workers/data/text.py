"""Text to token ids and back; the tokens.txt that ships with every student."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from spaces.files import why_not_a_file
from workers.errors import TeacherFault

BLANK = "<blk>"
BLANK_ID = 0
WORD_START = "▁"  # becomes a space when tokens are joined


_BLANKS = (BLANK, "<blank>", "<pad>", "[PAD]", "-")  # the last is torchaudio's


class Unencodable(ValueError):
    """A text holds something the tokens cannot write; the message names it."""


def normalise(text: str, lowercase: bool = True, remove_punctuation: bool = False) -> str:
    """Composed Unicode, single spaces; if asked, lower case and no punctuation but '."""
    text = unicodedata.normalize("NFC", text)
    if lowercase:
        text = text.lower()
    if remove_punctuation:
        text = "".join(
            " " if unicodedata.category(c).startswith("P") and c != "'" else c for c in text
        )
    return " ".join(text.split())


class Tokenizer(Protocol):
    """What the network writes. Symbol 0 is the blank; `symbols[i]` is written for id i."""

    symbols: tuple[str, ...]

    def encode(self, text: str) -> list[int]:
        """Ids of a normalised text.

        Raises:
            Unencodable: naming the first thing that has no token.
        """
        ...


class CharTokenizer:
    """One token a character; the space is ▁."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self._ids = {s: i for i, s in enumerate(self.symbols)}

    @classmethod
    def of(cls, texts: Iterable[str]) -> CharTokenizer:
        found = sorted({c for text in texts for c in text} - {" "})
        return cls([BLANK, WORD_START, *found])

    def encode(self, text: str) -> list[int]:
        try:
            return [self._ids[WORD_START if c == " " else c] for c in text]
        except KeyError as error:
            raise Unencodable(f"character {error.args[0]!r} is not in the token set") from error


class WordTokenizer:
    """One token a word."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self._ids = {s: i for i, s in enumerate(self.symbols)}

    @classmethod
    def of(cls, texts: Iterable[str]) -> WordTokenizer:
        found = sorted({word for text in texts for word in text.split()})
        return cls([BLANK, *(WORD_START + word for word in found)])

    def encode(self, text: str) -> list[int]:
        try:
            return [self._ids[WORD_START + word] for word in text.split()]
        except KeyError as error:
            word = error.args[0].removeprefix(WORD_START)
            raise Unencodable(f"word {word!r} is not in the token set") from error


class SentencePieceTokenizer:
    """Byte-pair pieces of words by sentencepiece (arXiv 1808.06226)."""

    def __init__(self, model: bytes) -> None:
        import sentencepiece

        self.model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        n_pieces = self._processor.get_piece_size()
        # sentencepiece's id 0 is <unk>, never produced by encodable text: its place is the blank's
        self.symbols = (BLANK, *(self._processor.id_to_piece(i) for i in range(1, n_pieces)))

    @classmethod
    def of(cls, texts: Iterable[str], vocabulary: int) -> SentencePieceTokenizer:
        """Train the pieces.

        Raises:
            Unencodable: when the texts do not hold that many pieces.
        """
        import sentencepiece

        written = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(list(texts)),
                model_writer=written,
                model_type="bpe",
                vocab_size=vocabulary,
                character_coverage=1.0,
                bos_id=-1,
                eos_id=-1,
                unk_id=0,
                minloglevel=2,
                num_threads=1,
            )
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1].rpartition("] ")[2]
            raise Unencodable(
                f"no {vocabulary} pieces can be made of these transcripts ({reason[-160:]})"
            ) from error
        return cls(written.getvalue())

    def encode(self, text: str) -> list[int]:
        ids = list(self._processor.encode(text))
        if 0 in ids:
            known = set("".join(self.symbols[1:]))
            odd = next((c for c in text if c != " " and c not in known), text)
            raise Unencodable(f"character {odd!r} is not in the token set")
        return ids


def make_tokenizer(kind: str, texts: Sequence[str], vocabulary: int | None = None) -> Tokenizer:
    """Tokens of a kind from normalised training transcripts."""
    if kind == "bpe":
        assert vocabulary is not None
        return SentencePieceTokenizer.of(texts, vocabulary)
    return CharTokenizer.of(texts) if kind == "characters" else WordTokenizer.of(texts)


def tokenizer_of(folder: Path, symbols: Sequence[str]) -> Tokenizer:
    """The tokenizer that a prepared corpus was written with."""
    if (folder / "bpe.model").exists():
        return SentencePieceTokenizer((folder / "bpe.model").read_bytes())
    is_words = any(len(s) > 1 for s in symbols[1:])
    return WordTokenizer(symbols) if is_words else CharTokenizer(symbols)


def decode(ids: Iterable[int], symbols: Sequence[str]) -> str:
    """Collapse repeats, drop blanks, join: greedy CTC decoding (Graves et al., 2006).

    The blank is the symbol of that name, else symbol 0.
    """
    blank = symbols.index(BLANK) if BLANK in symbols else BLANK_ID
    out, last = [], blank
    for i in ids:
        if i != last and i != blank:
            out.append(symbols[i])
        last = i
    return "".join(out).replace(WORD_START, " ").strip()


@dataclass(frozen=True)
class WrittenWord:
    """A word and the output frames in which its first and its last symbol were written."""

    text: str
    first: int
    last: int


def decode_words(ids: Iterable[int], symbols: Sequence[str]) -> list[WrittenWord]:
    """The words that `decode` joins, with where each was written."""
    blank = symbols.index(BLANK) if BLANK in symbols else BLANK_ID
    words: list[WrittenWord] = []
    is_new, last = True, blank
    for frame, i in enumerate(ids):
        if i != last and i != blank:
            starts, text = symbols[i].startswith(WORD_START), symbols[i].replace(WORD_START, "")
            is_new = is_new or starts
            if text:
                if is_new or not words:
                    words.append(WrittenWord(text, frame, frame))
                else:
                    before = words[-1]
                    words[-1] = WrittenWord(before.text + text, before.first, frame)
                is_new = False
        last = i
    return words


def write_tokens(symbols: Sequence[str], path: Path) -> None:
    """tokens.txt as sherpa-onnx reads it: `symbol id` a line."""
    lines = (f"{symbol} {i}\n" for i, symbol in enumerate(symbols))
    path.write_text("".join(lines), encoding="utf-8")


def read_tokens(path: Path) -> tuple[str, ...]:
    """Symbols by id.

    Raises:
        ValueError: saying which line is wrong.
    """
    if path.exists() and (why := why_not_a_file(path, "a list of tokens")):
        raise ValueError(f"{path}: {why}")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    symbols: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        symbol, _, index = line.rstrip().rpartition(" ")
        if not index.isdecimal():
            raise ValueError(f"{path}:{number}: is not `symbol id`")
        if int(index) in symbols:
            raise ValueError(f"{path}:{number}: id {index} is given twice")
        symbols[int(index)] = symbol or WORD_START  # a line with only an id is the space
    missing = next((i for i in range(max(1, len(symbols))) if i not in symbols), None)
    if missing is not None:
        raise ValueError(f"{path}: holds no id {missing}; ids count from 0 without a gap")
    return tuple(symbols[i] for i in range(len(symbols)))


def folded(symbol: str, space: str = "|") -> str:
    """A symbol of another program's as ours are: small letters, and its space as ▁."""
    if symbol == space:
        return WORD_START
    return symbol if symbol.startswith(("<", "[")) else symbol.lower()


@dataclass(frozen=True)
class BlankFirst:
    """Symbols with the blank, by its one name, in front; `order` is where each was before."""

    symbols: tuple[str, ...]
    order: tuple[int, ...]


def with_blank_first(symbols: Sequence[str], where: object) -> BlankFirst:
    """The same symbols with the blank in front.

    Raises:
        TeacherFault: when there is no blank.
    """
    blank = next((s for s in _BLANKS if s in symbols), None)
    if blank is None:
        others = ", ".join(_BLANKS[1:])
        raise TeacherFault(f"{where}: holds no {BLANK} (nor {others}): name the blank of CTC so")
    place = list(symbols).index(blank)
    order = (place, *(i for i in range(len(symbols)) if i != place))
    return BlankFirst((BLANK, *(symbols[i] for i in order[1:])), order)


def blank_named(symbols: Sequence[str], where: object) -> tuple[str, ...]:
    """The same symbols in their order, the blank by its one name.

    Raises:
        TeacherFault: when there is no blank.
    """
    place = with_blank_first(symbols, where).order[0]
    return (*symbols[:place], BLANK, *symbols[place + 1 :])
