"""More than 200 odd, damaged and hostile files, built in memory and always the same.

`hostile_files()` lists them with what the intake must do with each: read it ("ok", with the size and the
colours of its four quadrants where they are known) or refuse it ("refused").
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from tests import hostile_bad, hostile_good
from tests.hostile_encoders import SCENE, HostileFile, encode, scene

# Hostile names: what they are, the name, and what may be shown of it
HOSTILE_NAMES: dict[str, tuple[str, str]] = {
    "folders": ("../../etc/passwd", "passwd"),
    "folders and ending": ("../../../root/.ssh/cat.png", "cat.png"),
    "Windows": ("C:\\Users\\me\\cat.png", "cat.png"),
    "mixed slashes": ("a/b\\c/cat.png", "cat.png"),
    "only slashes": ("///", "unnamed image"),
    "only dots": ("..", "unnamed image"),
    "nothing": ("", "unnamed image"),
    "spaces": ("   ", "unnamed image"),
    "null byte": ("cat.png\0.exe", "cat.png.exe"),
    "new lines": ("cat\r\nSet-Cookie: a=b\n.png", "cat Set-Cookie_ a=b .png"),
    "tab and bell": ("c\ta\at.png", "c at.png"),
    "escape codes": ("\x1b[31mcat\x1b[0m.png", "_31mcat_0m.png"),
    "300 characters": ("a" * 300 + ".png", "a" * 75 + "….png"),
    "300 characters in the ending": ("cat." + "x" * 300, "cat." + "x" * 65 + "…" + "x" * 10),
    "emoji": ("\N{CAT FACE}\N{DOG FACE}.png", "\N{CAT FACE}\N{DOG FACE}.png"),
    "accents": ("été ä 猫.png", "été ä 猫.png"),
    "right-to-left override": ("cat\u202egnp.exe", "catgnp.exe"),
    "isolates and joiners": ("\u2066cat\u2069\u200b\u200d\ufeff.png", "cat.png"),
    "surrogate": ("cat\ud800.png", "cat.png"),
    "line separator": ("cat\u2028dog\u2029.png", "cat dog .png"),
    "script": ("<script>alert(1)</script>.png", "script_.png"),
    "image tag": ("<img src=x onerror=alert(1)>.png", "_img src=x onerror=alert(1)_.png"),
    "Markdown": ("![a](cat)[b]`$x$`.png", "__a_(cat)_b___x__.png"),
    "leading dash": ("--rf.png", "rf.png"),
    "hidden": (".bashrc", "bashrc"),
    "shell": ("$(reboot);|&cat.png", "_(reboot)___cat.png"),
    "quotes": ("a'b\"c.png", "a_b_c.png"),
    "format string": ("%s%n{0}.png", "_s_n_0_.png"),
    "Windows device": ("cat.png:stream", "cat.png_stream"),
}


@functools.cache
def hostile_files() -> tuple[HostileFile, ...]:
    """All files, in a fixed order; built once, 36 MB in all."""
    groups = (*hostile_good.GROUPS, *hostile_bad.GROUPS, named_files)
    return tuple(file for group in groups for file in group())


def named_files() -> Iterator[HostileFile]:
    """Each hostile name once on a sound picture and once on text."""
    good = encode(scene(), "PNG")
    for label, (name, _) in HOSTILE_NAMES.items():
        yield HostileFile(f"name with {label}", name, good, quadrants=SCENE)
        yield HostileFile(f"name with {label}, text", name, b"not a picture", "refused")
