"""jinja2 set up as Hugging Face transformers' apply_chat_template sets it up.

Source: transformers/utils/chat_template_utils.py, _compile_jinja_template and
render_jinja_template (v4.45 and later).
"""

import datetime
import json

import jinja2
import jinja2.ext
import jinja2.sandbox


# What strftime_now() says: noon, so that it is that day in most time zones. 1721995200 in Unix time.
NOW = datetime.datetime(2024, 7, 26, 12)


class Generation(jinja2.ext.Extension):
    """{% generation %}: marks the assistant's tokens; prints its body unchanged."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    # `default`: templates written for llama.cpp hand generators to tojson, which Tandem accepts.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys, default=as_list)


def as_list(value):
    if hasattr(value, "__next__"):
        return list(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env
