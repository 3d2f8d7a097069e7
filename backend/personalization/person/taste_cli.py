"""`./troupe taste`: a taste document, checked without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

app = typer.Typer(name="taste", help="Portable taste documents.", no_args_is_help=True)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


@app.callback()
def options() -> None:
    """Options that hold for every command."""


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The document, as `GET /v1/me/taste/export` gave it.")],
    key: Annotated[
        str | None,
        typer.Option("--key", help="The issuer's public key (0x and 64 hex digits), from its well-known address."),
    ] = None,
) -> None:
    """Check a taste document offline: its form, and that nothing was changed since it was signed. Ends with 1 if not.

    Who signed it is known only with --key, for anybody can sign with a key of their own.
    """
    from backend.personalization.person.portable import DocumentError, parse, verify

    try:
        trusted = None if key is None else bytes.fromhex(key.removeprefix("0x"))
    except ValueError:
        raise typer.BadParameter("is no hexadecimal number", param_hint="--key") from None
    try:
        document = parse(file.read_bytes())
        verify(document, trusted=trusted)
    except (DocumentError, OSError) as error:
        err.print(f"[bold red]troupe:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None
    by = f"signed by {document.issuer}" if trusted else f"unchanged since it was signed; it says by {document.issuer}"
    out.print(
        f"{escape(by)}, {document.issued_at:%Y-%m-%d %H:%M} UTC: {len(document.likings):,} likings", soft_wrap=True
    )
    if trusted is None:
        out.print(f"its key is 0x{document.public_key.hex()}; compare it with", soft_wrap=True)
        out.print(f"{escape(document.issuer)}/.well-known/troupe-taste-key.json", soft_wrap=True)
