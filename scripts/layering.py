"""The map of src/ as rules, and the search for what offends them; used by check-layering."""
import re

PARTS = "bin config fuse layer overlay semantics store sys types".split()

# File or folder of src: the parts of the crate, and after | the words, that it may not mention.
RULES = {
    "types.rs": "bin config fuse layer overlay semantics store sys",
    "config": "bin fuse layer overlay semantics store sys",
    "semantics": "bin fuse layer overlay store sys | std::fs rustix Mutex RwLock",
    "sys": "bin fuse layer overlay semantics store | log::",
    "layer": "bin fuse overlay store | fuser",
    "overlay": "bin fuse store | fuser tar::",
    "store": "bin fuse overlay | fuser",
    "fuse": "bin layer semantics store",
}
ONLY_IN_SYS = ["libc", "unsafe"]
LONGEST = 600

COMMENT_OR_LITERAL = re.compile(
    r"""//[^\n]*|/\*.*?\*/|r(#+)".*?"\1|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])'""", re.S)


def code_of(text):
    """The text with comments and literals blanked, so that offsets and lines stay."""
    return COMMENT_OR_LITERAL.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def parts_in(code):
    """Yields (offset, part) for each path into the crate; `crate::{a, b::{c}}` names a and b."""
    for path in re.finditer(r"\bcrate::\s*(\w+|\{)", code):
        depth, at_start = 0, True
        for token in re.finditer(r"\w+|\S", code[path.start(1):]):
            word = token.group()
            if at_start and word in PARTS:
                yield path.start(1) + token.start(), word
            depth += (word == "{") - (word == "}")
            at_start = word in ("{", ",") and depth == 1
            if depth == 0:
                break


def words_in(code, words):
    """Yields (offset, word) for each of the words that stands in the code."""
    for word in words:
        for found in re.finditer(rf"\b{word}" + ("" if word.endswith(":") else r"\b"), code):
            yield found.start(), word
