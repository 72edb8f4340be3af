#!/usr/bin/env python3
"""Writes seed corpora for jinja_fuzzer and grammar_fuzzer into two folders that are to be named:

    make_language_seeds.py JINJA_FOLDER GRAMMAR_FOLDER

The templates are those of tests/data/jinja_cases.json.
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
GRAMMARS = [
    'root ::= "a" | [b-d]+ (. "x"){2,3} item*\nitem ::= "\\u00e9" root? # why',
    'root ::= "[" (root ("," root)*)? "]" | [^\\x00-\\x1F"]{1,5}',
    '{"type":"object","properties":{"a":{"type":"integer","minimum":-5,"maximum":120},"b":{"type":"string",'
    '"maxLength":9}},"required":["a"],"additionalProperties":{"type":"number"}}',
    '{"$defs":{"n":{"type":"array","items":{"$ref":"#/$defs/n"},"maxItems":3}},"$ref":"#/$defs/n"}',
    '{"anyOf":[{"enum":["x",1,null]},{"type":"string","pattern":"^(a|b){2,4}\\\\d+$"},{"format":"date-time"}]}',
    '{"allOf":[{"type":"integer"},{"exclusiveMinimum":3}],"oneOf":[{"maximum":9},{"const":77}]}',
]


def main():
    jinja, grammar = (pathlib.Path(folder) for folder in sys.argv[1:3])
    jinja.mkdir(parents=True, exist_ok=True)
    grammar.mkdir(parents=True, exist_ok=True)
    cases = json.loads((HERE.parent / "data" / "jinja_cases.json").read_text())["cases"]
    for number, case in enumerate(cases):
        (jinja / f"case_{number:03}").write_text(case["template"])
    for number, text in enumerate(GRAMMARS):
        (grammar / f"grammar_{number}").write_text(text)


if __name__ == "__main__":
    main()
