"""A button that copies the address of what is seen."""

from __future__ import annotations

from typing import Any

import streamlit as st

_HTML = '<button type="button" class="copy-link">Copy link</button>'
_CSS = """.copy-link {
  font: inherit; color: var(--st-text-color); background: transparent; cursor: pointer;
  border: 1px solid var(--st-border-color); border-radius: 0.5rem; padding: 0.35rem 0.75rem;
}
.copy-link:focus-visible { outline: 2px solid var(--st-primary-color); }"""
# Where a page is not served securely there is no clipboard: the address is shown to be copied.
_JS = """export default function ({ parentElement }) {
  const button = parentElement.querySelector(".copy-link")
  button.onclick = async () => {
    const address = window.location.href
    try {
      await navigator.clipboard.writeText(address)
      button.textContent = "Copied"
    } catch {
      window.prompt("The address of this view", address)
    }
    setTimeout(() => { button.textContent = "Copy link" }, 2000)
  }
}"""


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return st.components.v2.component(
        "copy_link", html=_HTML, css=_CSS, js=_JS, isolate_styles=False
    )


def copy_link() -> None:
    """For a colleague: the same study, trial, view and budgets."""
    _component()(key="copy-link")
