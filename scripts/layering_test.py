"""The self-test of check-layering: offends each rule once, in a tree of its own."""
import pathlib
import tempfile
from layering import LONGEST, ONLY_IN_SYS, RULES


def cases():
    """Yields (file, text, [(line, what is reported of it)])."""
    yield "good.rs", '//! libc\n/* unsafe */ const A: &str = "libc"; // unsafe\n', []
    yield "a.rs", "\n//!\n", [(1, "does not begin with //!")]
    yield "a.rs", "//!\n" * (LONGEST + 1), [(LONGEST + 1, f"is longer than {LONGEST} lines")]
    for part, rule in {**RULES, "bin": "|" + " ".join(ONLY_IN_SYS)}.items():
        parts, _, words = rule.partition("|")
        texts = [(p, f"//!\nuse crate::{{types::A as B,\n{p}::C}};\n") for p in parts.split()]
        texts += [(word, f"//!\n\n{word} A;\n") for word in words.split()]
        for word, text in texts:
            yield part if part.endswith(".rs") else f"{part}/mod.rs", text, [(3, f"mentions {word}")]


def misreported(offences):
    """Yields a line for each case of which `offences` does not report just what it should."""
    for file, text, want in cases():
        with tempfile.TemporaryDirectory() as src:
            path = pathlib.Path(src) / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            got = [(line, what) for _, line, what in offences(pathlib.Path(src))]
        if got != want:
            yield f"{file} {text[:60]!r}: reported {got}, expected {want}"
