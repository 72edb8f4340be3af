#!/usr/bin/env python3
"""Writes tests/data/chat_expectations.json: conversations, and what each template makes of them.

    make_chat_expectations.py FOLDER_OF_TEMPLATES

Needs python3-jinja2. The templates are not ours to copy, so only lengths and FNV-1a hashes of the
outputs are kept; the C++ test renders the templates where they lie and compares.
"""

import json
import pathlib
import sys

from transformers_jinja import environment

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Current weather of a city — \"now\".",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "City & country, e.g. <Zürich>"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "Unit"},
        "days": {"type": "integer", "minimum": 1, "maximum": 14, "default": 3, "description": "How many"}},
        "required": ["city"]}}}
SEARCH = {"type": "function", "function": {
    "name": "search", "description": "Search", "parameters": {"type": "object", "properties": {
        "query": {"type": "string", "description": "What"},
        "filters": {"type": "object", "description": "How", "properties": {
            "tags": {"type": "array", "description": "Any", "items": {"type": "string"}},
            "since": {"type": ["string", "null"], "description": "When", "format": "date"}}},
        "limit": {"oneOf": [{"type": "integer"}, {"type": "string"}], "description": "Most"}}}}}
PLAIN = {"type": "function", "function": {
    "name": "now", "description": "Time", "parameters": {"type": "object", "properties": {}}}}


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def system(text):
    return {"role": "system", "content": text}


def call(name, arguments, number, **more):
    return {"id": f"call{number:05}", "type": "function",
            "function": {"name": name, "arguments": arguments}, **more}


def calls(*all_calls, content=None):
    return {"role": "assistant", "content": content, "tool_calls": list(all_calls)}


def result(text, number, name="get_weather"):
    return {"role": "tool", "tool_call_id": f"call{number:05}", "name": name, "content": text}


ARGUMENTS = {"city": "Zürich", "unit": "celsius", "days": 2, "deep": {"a": [1, 2.5, None, True]}}

CONVERSATIONS = {
    "user": {"messages": [user("Hello, who are you?")]},
    "spaces": {"messages": [user("  padded \n\n text\t ")]},
    "unicode": {"messages": [user("Grüße 世界 🙂 \"quoted\" <tag> & 'more' \\ back\u2028slash")]},
    "system": {"messages": [system("You are terse."), user("Hi")]},
    "turns": {"messages": [user("1+1?"), assistant("2"), user("And 2+2?"), assistant("<think>hm</think>4"), user("Thanks")]},
    "system turns": {"messages": [system("Be kind.\nAlways."), user("a"), assistant("b"), user("c"), assistant("d")]},
    "wrong order": {"messages": [user("a"), user("b")]},
    "unknown role": {"messages": [user("a"), {"role": "critic", "content": "b"}]},
    "empty": {"messages": []},
    "tools": {"messages": [user("Weather?")], "tools": [WEATHER]},
    "many tools": {"messages": [system("S"), user("Weather?")], "tools": [WEATHER, SEARCH, PLAIN]},
    "call, object": {"messages": [user("Weather?"), calls(call("get_weather", ARGUMENTS, 1))], "tools": [WEATHER]},
    "call, text": {"messages": [user("Weather?"), calls(call("get_weather", json.dumps(ARGUMENTS, ensure_ascii=False), 1))], "tools": [WEATHER]},
    "call with words": {"messages": [user("Weather?"), calls(call("get_weather", {"city": "Oslo"}, 1), content="Let me see.")], "tools": [WEATHER]},
    "result": {"messages": [user("Weather?"), calls(call("get_weather", ARGUMENTS, 1)), result("{\"t\": 21}", 1), assistant("21 °C"), user("Thanks!")], "tools": [WEATHER]},
    "result, text": {"messages": [user("Weather?"), calls(call("get_weather", "{\"city\": \"Oslo\"}", 1)), result("{\"t\": 21}", 1), assistant("21 °C")], "tools": [WEATHER, PLAIN]},
    "two calls": {"messages": [system("S"), user("Both?"), calls(call("get_weather", {"city": "A"}, 1), call("search", {"query": "B"}, 2)), result("one", 1), result("two", 2, "search")], "tools": [WEATHER, SEARCH]},
    "two calls, text": {"messages": [user("Both?"), calls(call("get_weather", "{\"city\": \"A\"}", 1), call("search", "{}", 2)), result("one", 1), result("two", 2, "search"), assistant("done")], "tools": [WEATHER, SEARCH]},
    "no tools given": {"messages": [user("Weather?"), calls(call("get_weather", {"city": "A"}, 1)), result("x", 1), assistant("y")]},
    "documents": {"messages": [user("What do they say?")], "extra": {"documents": [{"title": "T", "text": "Ä <x>"}], "enable_citations": True}},
    "code interpreter": {"messages": [user("Run it"), calls(call("python", "print(1)", 1)), result("1", 1, "python")], "tools": [{"type": "code_interpreter"}, WEATHER], "extra": {"builtin_tools": ["code_interpreter", "brave_search"]}},
    "date given": {"messages": [user("Hi")], "extra": {"date_string": "01 Jan 2030", "tools_in_user_message": False, "datetime": "2030-01-01", "functions": "[]"}, "tools": [PLAIN]},
}


def fnv1a_64(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def render(template, conversation, prompt):
    names = {"documents": None, **conversation.get("extra", {})}
    return template.render(
        messages=conversation["messages"], tools=conversation.get("tools"),
        add_generation_prompt=prompt, bos_token="<s>", eos_token="</s>", **names)


def main():
    env = environment()
    expectations = []
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jinja")):
        template = env.from_string(path.read_text())
        for name, conversation in CONVERSATIONS.items():
            for prompt in (False, True):
                row = {"template": path.name, "conversation": name, "prompt": prompt}
                try:
                    data = render(template, conversation, prompt).encode()
                    row.update(bytes=len(data), fnv1a=fnv1a_64(data))
                except Exception:  # whatever jinja2 refuses
                    row["error"] = True
                expectations.append(row)
    target = pathlib.Path(__file__).parent.parent / "data" / "chat_expectations.json"
    rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in expectations)
    conversations = ",\n".join(f"  {json.dumps(n)}: {json.dumps(c, ensure_ascii=False)}" for n, c in CONVERSATIONS.items())
    target.write_text('{"conversations": {\n' + conversations + '\n },\n "expectations": [\n' + rows + "\n ]}\n")
    errors = sum("error" in row for row in expectations)
    print(f"{len(expectations)} expectations, {errors} of them errors -> {target}")


if __name__ == "__main__":
    main()
