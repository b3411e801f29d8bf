# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page that shows the changes to a person: the files of page/ as one, which loads nothing from elsewhere.

The browser is told to run this one script and this one style and to ask this receiver only; and it may turn no text
into markup (Trusted Types), whatever the script tries.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

from flashduty_sandbox.answer import Answer

LANGUAGES = ("en", "zh")
_FOLDER = Path(__file__).with_name("page")


def load() -> Answer:
    """Read the page. Raises OSError."""
    texts = {language: json.loads(_read(f"{language}.json")) for language in LANGUAGES}
    script = f"\nconst TEXTS = {json.dumps(texts, ensure_ascii=False)};\n{_read('app.js')}"
    html = _read("index.html").replace("></style>", f">\n{_read('style.css')}</style>")
    html = html.replace("></script>", f">{script}</script>")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(html, 'script')}",
            f"style-src {_hash(html, 'style')}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )
    headers = (
        ("Content-Security-Policy", policy),
        ("Cache-Control", "no-store"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
    )
    return Answer(200, html.encode("utf-8"), "text/html; charset=utf-8", headers)


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(html: str, element: str) -> str:
    (content,) = re.findall(rf"<{element}\b[^>]*>(.*?)</{element}>", html, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode('utf-8')).digest()).decode('ascii')}'"
