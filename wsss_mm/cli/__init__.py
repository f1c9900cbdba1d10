"""The `wsss-mm` command: one module per sub-command, heavy imports inside the handlers."""

from wsss_mm.interrupts import say_when_interrupted

LINE = "wsss-mm: interrupted; the same command goes on where it stopped"
say_when_interrupted(LINE)
