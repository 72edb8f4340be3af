#!/usr/bin/env python3
"""Writes tests/data/jinja_cases.json: small templates and what Python's jinja2 makes of them.

Needs python3-jinja2. Run after adding a case below; the C++ test reads the JSON alone.
"""

import json
import pathlib

from transformers_jinja import environment

CONTEXT = {
    "name": "Ada", "n": 3, "pi": 3.14159, "yes": True, "nothing": None, "empty": "", "zero": 0,
    "words": ["b", "a", "C"], "nested": {"a": {"b": [1, {"c": "deep"}]}, "items": "shadowed"},
    "people": [{"name": "Ann", "age": 30, "ok": True}, {"name": "bob", "age": 25, "ok": False},
               {"name": "Cid", "age": 30}],
    "text": "  Hello World\n", "uni": "Grüße, 世界 🙂", "html": "<a href='x'>&</a>", "big": 2**64 - 1,
    "tool": {"type": "function", "function": {"name": "f", "parameters": {"x": [1, 2.5, None, True]}}},
}

CASES = r"""
plain text
{{ name }}
{{ 'a' "b" 'c' }}
{{ missing }}|{{ missing|default('d') }}|{{ empty|default('d', true) }}|{{ nothing|d('x') }}
{{ missing.attribute }}
{{ nested.missing }}|{{ nested['missing'] }}|{{ nested.a.b[1].c }}|{{ nested['a']['b'][0] }}
{{ nested.items is callable }} {{ nested['items'] }}
{{ words[0] }} {{ words[-1] }} {{ words[9] }} {{ words.0 }}
{{ words[1:] }} {{ words[:-1] }} {{ words[::-1] }} {{ words[::2] }} {{ words[5:] }}
{{ uni[1:4] }} {{ uni[-1] }} {{ uni|length }} {{ uni[::-1] }} {{ uni[10:] }}
{{ 1 + 2 * 3 }} {{ (1 + 2) * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 8 / 2 }}
{{ 2 ** 3 ** 2 }} {{ 2 ** -1 }} {{ -2 ** 2 }} {{ 10 ** 20 }}
{{ 1.5 + 1 }} {{ 0.1 + 0.2 }} {{ 1e16 }} {{ 1e15 }} {{ 1e-5 }} {{ 0.0001 }} {{ 100.0 }} {{ -0.0 }} {{ 1.0e100 }}
{{ 'ab' * 3 }} {{ [1] * 2 }} {{ 'x' ~ 1 ~ none ~ true ~ 2.0 }} {{ 1 ~ (2 + 3) }}
{{ 'a' ~ 'b' ~ missing ~ 'c' }}
{{ true }} {{ False }} {{ none }} {{ None }} {{ [true, none, 'x', 1.0] }} {{ {'a': 1, "b": [()]} }} {{ (1,) }} {{ () }}
{{ ["it's", 'say "hi"', 'both \' "', "tab\t nl\n \\ é \x01 \u200b"] }}
{{ 1 if yes else 2 }} {{ 1 if not yes }} {{ 'a' if zero else 'b' if empty else 'c' }}
{{ yes and name }} {{ zero or name }} {{ not zero }} {{ not name }} {{ zero and missing.x }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ 1 == true }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 1 != 2 }}
{{ 'a' in words }} {{ 'z' not in words }} {{ 'ell' in text }} {{ 'a' in nested }} {{ 1 in [1.0] }} {{ 'x' in missing }}
{{ not 'a' in words }} {{ missing == missing2 }} {{ missing == none }} {{ none == none }}
{{ name is defined }} {{ missing is defined }} {{ missing is undefined }} {{ missing is not defined }} {{ nested.x is defined }}
{{ nothing is none }} {{ n is number }} {{ pi is float }} {{ n is integer }} {{ true is boolean }} {{ true is integer }} {{ name is string }}
{{ words is sequence }} {{ words is iterable }} {{ nested is mapping }} {{ name is iterable }} {{ n is iterable }} {{ words is mapping }} {{ missing is iterable }}
{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ 'a' is in ['a'] }} {{ 1 is eq 1 }} {{ 2 is gt(1) }} {{ 'x' is sameas 'y' }}
{{ 'ABC' is upper }} {{ 'abc' is lower }} {{ '1' is upper }} {{ 1 is true }} {{ true is true }} {{ 'trim' is filter }} {{ 'nope' is test }}
{{ name is defined and name == 'Ada' }} {{ n is none or n is number }} {{ 'yes' if n is defined else 'no' }}
{{ name|upper }} {{ name|lower }} {{ 'foo bar'|title }} {{ 'fOO'|capitalize }} {{ text|trim }}| {{ 'xxaxx'|trim('x') }} {{ "they're o'neil-smith (x)"|title }}
{{ 'straße'|upper }} {{ 'ÀÉÎ ΑΒΓ ЖЯ Ÿ'|lower }} {{ 'àéî αβγς жя ÿ'|upper }} {{ uni|title }}
{{ words|join(', ') }} {{ words|join }} {{ [1, none, true]|join('-') }} {{ people|join(',', attribute='name') }} {{ nested|join(' ') }}
{{ words|length }} {{ nested|length }} {{ name|count }} {{ missing|length }} {{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a b c'.split(' ', 1) }} {{ 'a b c'.rsplit(' ', 1) }} {{ 'a  b c '.rsplit(none, 1) }}
{{ words|first }} {{ words|last }} {{ []|first }} {{ name|first }} {{ words|reverse|list }} {{ name|reverse }} {{ words|list }} {{ name|list }}
{{ words|sort }} {{ words|sort(reverse=true) }} {{ words|sort(case_sensitive=true) }} {{ people|sort(attribute='age')|map(attribute='name')|list }}
{{ people|map(attribute='name')|join(' ') }} {{ words|map('upper')|list }} {{ people|map(attribute='ok', default='?')|list }} {{ ['1','2']|map('int')|sum }}
{{ people|selectattr('ok')|map(attribute='name')|list }} {{ people|rejectattr('ok')|map(attribute='name')|list }} {{ people|selectattr('age', 'equalto', 30)|list|length }} {{ people|selectattr('ok', 'defined')|list|length }} {{ people|selectattr('age', '>', 26)|map(attribute='name')|list }}
{{ [0, 1, '', 'a', none]|select|list }} {{ [1, 2, 3]|select('odd')|list }} {{ [1, 2, 3]|reject('odd')|list }} {{ words|reject('equalto', 'a')|list }} {{ words|select('in', ['a', 'b'])|list }}
{{ [1, 2, 1, 'a', 'A']|unique|list }} {{ [3, 1, 2]|min }} {{ [3, 1, 2]|max }} {{ people|max(attribute='age') }} {{ [1, 2.5]|sum }} {{ people|sum(attribute='age') }} {{ [[1], [2]]|sum(start=[]) }}
{{ nested|items|list }} {{ {'b': 1, 'a': 2}.items()|list }} {{ {'b': 1, 'a': 2}|dictsort }} {{ {'b': 1, 'a': 2}|dictsort(by='value') }} {{ missing|items|list }}
{{ {'a': 1}.keys()|list }} {{ {'a': 1}.values()|list }} {{ {'a': 1}.get('a') }} {{ {'a': 1}.get('b') }} {{ {'a': 1}.get('b', 2) }} {{ {'a': 1}.items() }}
{{ range(5)|list }} {{ range(1, 4)|list }} {{ range(5, 0, -2)|list }} {{ range(3) }} {{ range(2)|length }} {{ [1,2,3,4,5]|batch(2)|list }} {{ [1,2,3]|batch(2, 'x')|list }} {{ [1,2,3,4,5]|slice(2)|list }}
{{ tool|tojson }}
{{ tool|tojson(indent=2) }}
{{ tool|tojson(indent=4, sort_keys=true) }}
{{ tool|tojson(separators=(',', ':')) }}
{{ "é\"\\/\n\t\x01\x7f<>&'"|tojson }} {{ "é🙂"|tojson(ensure_ascii=true) }} {{ [1.0, 1e20, 1e-7, none]|tojson }} {{ {1: 2, none: 3, true: 4}|tojson }} {{ big|tojson }} {{ []|tojson(indent=1) }} {{ (1, 2)|tojson }}
{{ people|map(attribute='age')|tojson }}
{{ 'a\nb\n\nc'|indent }}|{{ 'a\nb'|indent(2, true) }}|{{ 'a\n\nb'|indent(2, blank=true) }}|{{ 'a\nb'|indent('>>', first=True) }}|{{ 'a\n'|indent(1) }}
{{ 'hello'|replace('l', 'L') }} {{ 'hello'|replace('l', 'L', 1) }} {{ 'aaa'|replace('', '-') }} {{ 5|replace('5', 'x') }}
{{ 'hello big world'|truncate(9, leeway=0) }} {{ 'hello big world'|truncate(9, true, '..', 0) }} {{ 'short'|truncate(3) }} {{ 'x'|center(5) }}| {{ 'ab'|center(5) }}|
{{ '42'|int }} {{ 'x'|int }} {{ 'x'|int(7) }} {{ '3.9'|int }} {{ 3.9|int }} {{ '0x1f'|int(base=16) }} {{ '1_000'|int }} {{ none|int }} {{ '2.5'|float }} {{ 'x'|float }} {{ 3|float }} {{ true|int }}
{{ 2.5|round }} {{ 3.5|round }} {{ 2.675|round(2) }} {{ 2.1|round(0, 'ceil') }} {{ 2.9|round(method='floor') }} {{ 5|round }} {{ 1234|round(-2) }} {{ -5|abs }} {{ -5.5|abs }}
{{ '%s is %d, %5.2f|%-4s|%04d|%x|%%' % (name, 5, 2.5, 'a', 7, 255) }} {{ '%s' % name }} {{ '%(a)s' % {'a': 1} }} {{ '%s-%s'|format(1, 'b') }} {{ '%r' % name }} {{ '%+d %e %g' % (3, 12345.678, 0.00001) }}
{{ '{} and {}'.format(1, 'b') }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{x}'.format(x=name) }} {{ '{{}}'.format() }}
{{ html|e }} {{ html|safe }} {{ ('<'|safe) + '<' }} {{ '<' + ('>'|safe) }} {{ html|e|e }} {{ html|forceescape }} {{ ('<'|safe) ~ '<' }} {{ 'a'|safe + 'b'|safe }}
{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'abc'.find('c') }} {{ 'äbc'.find('c') }} {{ 'abc'.find('z') }} {{ 'abcabc'.rfind('b') }} {{ 'aXbX'.count('X') }} {{ 'abc'.index('b') }}
{{ ' x '.strip() }}|{{ ' x '.lstrip() }}|{{ ' x '.rstrip() }}|{{ 'xyax'.strip('xy') }}|{{ 'a-b'.upper() }} {{ 'A'.lower() }} {{ 'hello world'.title() }} {{ 'hELLO'.capitalize() }} {{ 'aB'.swapcase() }}
{{ ','.join(['a', 'b']) }} {{ 'a\nb\r\nc'.splitlines() }} {{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }} {{ 'ab'.partition('x') }} {{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.py'.removesuffix('.py') }}
{{ '5'.zfill(3) }} {{ '-5'.zfill(4) }} {{ 'a'.ljust(3, '.') }} {{ 'a'.rjust(3) }}| {{ 'a'.center(4) }}| {{ '12'.isdigit() }} {{ 'ab'.isalpha() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ 'AB'.isupper() }} {{ 'a1'.islower() }} {{ ''.isdigit() }}
{{ [1, 2, 1].count(1) }} {{ [1, 2].index(2) }} {{ words.append is defined }} {{ words.append }}
{{ dict(a=1, b=2) }} {{ dict({'x': 1}, y=2) }} {{ dict([('k', 'v')]) }}
{% if yes %}A{% elif name %}B{% else %}C{% endif %} {% if zero %}A{% elif name %}B{% else %}C{% endif %} {% if zero %}A{% elif empty %}B{% else %}C{% endif %}
{% for w in words %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }}:{{ w }} {% endfor %}
{% for w in words %}{{ loop.previtem|default('^') }}{{ w }}{{ loop.nextitem|default('$') }} {{ loop.cycle('x', 'y') }} {{ loop.changed(w == 'a') }} {{ loop.depth }};{% endfor %}
{% for k, v in nested.items() %}{{ k }},{% endfor %}{% for k in nested %}{{ k }},{% endfor %}{% for (a, b) in [(1, 2), (3, 4)] %}{{ a }}{{ b }} {% endfor %}{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for x in [] %}x{% else %}none{% endfor %} {% for x in missing %}x{% else %}none{% endfor %} {% for x in [1] %}x{% else %}none{% endfor %} {% for c in 'añ' %}{{ c }}.{% endfor %}
{% for x in range(10) if x % 2 %}{{ loop.index }}:{{ x }}{{ ',' if not loop.last }}{% endfor %}
{% for x in range(10) %}{% if x == 3 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for x in [1, [2, [3]]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}@{{ loop.depth }}{% endif %}{% endfor %}
{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 5 %}{{ x }}{% endfor %}{{ x }}
{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}
{% set ns = namespace(c=0, s='') %}{% for i in range(4) %}{% set ns.c = ns.c + i %}{% set ns.s = ns.s ~ i %}{% endfor %}{{ ns.c }} {{ ns.s }} {{ ns.x is defined }}
{% set a, b = 1, 2 %}{{ a }}{{ b }} {% set c = 1, 2 %}{{ c }} {% set (d, e) = [3, 4] %}{{ d }}{{ e }}
{% set t %}block {{ name }}{% endset %}{{ t|upper }} {% set u | trim | upper %}  padded  {% endset %}[{{ u }}]
{% filter upper %}shout {{ name }}{% endfilter %} {% filter replace('a', 'b') | trim %} banana {% endfilter %}
{% macro m(a, b='B', c=a) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3, a=4) }}{{ m() }}{{ m(1, c=none) }} {{ m.name }}
{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}
{% macro fact(n) %}{% if n < 2 %}1{% else %}{{ n * fact(n - 1)|int }}{% endif %}{% endmacro %}{{ fact(5) }}
{% macro wrap(tag) %}<{{ tag }}>{{ caller() }}</{{ tag }}>{% endmacro %}{% call wrap('b') %}bold {{ name }}{% endcall %}
{% macro each(xs) %}{% for x in xs %}{{ caller(x, loop.index) }}{% endfor %}{% endmacro %}{% call(v, i) each(words) %}{{ i }}={{ v }} {% endcall %}
{% set outer = 'o' %}{% macro m() %}{{ outer }}{{ later }}{% endmacro %}{% set later = 'l' %}{{ m() }}
{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}
{% with a = 1, b = n %}{{ a }}{{ b }}{% set a = 9 %}{{ a }}{% endwith %}{{ a is defined }}
{% raw %}{{ not.rendered }} {% if %}{% endraw %}|{% raw -%}  x  {%- endraw %}|
a{# comment #}b {#- trim -#} c{# {{ nested }} {% if %} #}
{% generation %}text {{ name }}{% endgeneration %}
  {% if true %}\n    x\n  {% endif %}\n  y
a\n  {%- if true -%}\n  b  \n{%- endif %}\nc
a\n  {%+ if true +%}\nb\n  {%+ endif %}\nc
{{ 'x' -}}\n   y\n   {{- 'z' }}\n
  {{ 'x' }}\n  {{ 'y' }}\n\n
{# c #}\n  {# d #}  \nx  {# e #}\ny
{% set x = 'é' -%}\n\n  {{ x }}\n{%- set y = 1 %}\n{{ y }}
\r\na\r\n{% if true %}\r\nb\r\n{% endif %}\r\n
{{ {'a': {'b': {}}} }}{{ {} }}{{ "}}" }}{{ '%}' }}
{{ "a\\b\n\x41\u00e9\U0001F642\101\q" }} {{ 'multi
line' }}
{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_000 }} {{ 1_0.5 }} {{ 2e3 }}
{{ -1|abs }} {{ - 3 }} {{ +2 }} {{ 1 - -1 }} {{ not not 1 }} {{ -n }} {{ --n }}
{{ [1, 2,] }} {{ {'a': 1,} }} {{ words|join(', ',) }} {{ dict(a=1,) }}
{{ words | map('replace', 'a', 'z') | list }} {{ words|map('length')|list }} {{ [[3, 1], [2]]|map('sort')|list }} {{ people|map(attribute='name.0')|list }} {{ [[1, 2]]|map(attribute=1)|list }}
{{ people|groupby('age')|map('first')|list }} {{ people|map(attribute='name')|map('lower')|select('in', ['bob'])|first }}
{{ raise_exception('stop: ' ~ name) }}
{{ 1 / 0 }}
{{ 'a' + 1 }}
{{ none + 'a' }}
{{ missing + 'a' }}
{{ missing() }}
{{ name() }}
{{ words|nofilter }}
{{ words is notest }}
{{ none|length }}
{{ 5|join }}
{{ words.append(1) }}
{{ range(1000000) }}
{{ 1 < 'a' }}
{{ 1 in 'a' }}
{{ [1, 'a']|sort }}
{{ {[]: 1} }}
{{ missing|tojson }}
{{ range|tojson }}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{% for x in 5 %}{% endfor %}
{% set name.x = 1 %}
{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{% endmacro %}{{ m(b=2) }}
{{ 'abc'.index('z') }}
{{ '%d' % 'x' }}
{{ 'abc'[::0] }}
{{ unclosed
{% if x %}
{% endif %}
{{ 1 + }}
{{ (1 }}
{{ 'unterminated }}
{% unknown %}
{% break %}
{% for x in y %}{% else %}
{{ 1 2 }}
{{ a.b. }}
{{ a[ }}
{% set 5 = 1 %}
{% set true = 1 %}
{# open
{% raw %}open
{{ x is y is z }}
{{ f(a=1, 2) }}
{% macro m(a=1, b) %}{% endmacro %}
{{ '{0}' }} { {{ 1 }} } {{ '{' }} {%- if 1 %} % }{% endif %}
{% if n == 3 %}three{% endif %}{% if n, %}tuple{% endif %}{{ 1, 2 }}
{{ strftime_now('%d %b %Y') }}
{{ text|trim|length }} {{ (text|trim).split()|length }} {{ 'x'.join('abc') }} {{ uni.upper() }} {{ uni|wordcount }}
{{ loop is defined }}{% for a in [1] %}{% for b in [1, 2] %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}
{{ (1, 2) + (3,) }} {{ [1] + [2] }} {{ [1] + [2] == [1, 2] }} {{ (1,) == [1] }} {{ {'a': 1} == {'a': 1.0} }}
{% set it = words|map('upper') %}{{ it|first }}{{ it|list }}{{ it|list }}{% set g = [1,2]|select %}{% for x in g %}{{ x }}{% endfor %}{% for x in g %}{{ x }}{% endfor %}
""".strip("\n").replace("'multi\nline'", "'multi\x00line'").split("\n")


def main():
    env = environment()
    cases = []
    for line in CASES:
        template = line.replace("\x00", "\n")
        if "\\n" in template and "{{ '" not in template.split("\\n")[0][:4] and (
                template.startswith(("  {% if", "a\\n", "{# c", "{% set x = 'é'", "\\r"))):
            template = template.replace("\\r", "\r").replace("\\n", "\n")
        if template.startswith(("{{ 'x' -}}", "  {{ 'x'")):
            template = template.replace("\\n", "\n")
        try:
            cases.append({"template": template, "expected": env.from_string(template).render(CONTEXT)})
        except Exception as error:  # whatever jinja2 refuses
            cases.append({"template": template, "error": f"{type(error).__name__}: {error}"})
    target = pathlib.Path(__file__).parent.parent / "data" / "jinja_cases.json"
    document = {"context": CONTEXT, "cases": cases}
    target.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    print(f"{len(cases)} cases, {sum('error' in c for c in cases)} of them errors -> {target}")


if __name__ == "__main__":
    main()
