#!/usr/bin/python3
"""README's list of settings is what the server itself prints; with --write, makes it so.

usage: readme.py [--write] README.md semcached
"""
import re
import subprocess
import sys

BORDERS = re.compile(r"(<!-- settings -->\n).*?(<!-- /settings -->)", re.DOTALL)


def main(words):
    write = "--write" in words
    readme, server = [word for word in words if word != "--write"]
    printed = subprocess.run([server, "--print-settings=markdown"], check=True, env={},
                             stdout=subprocess.PIPE, text=True).stdout
    with open(readme, encoding="utf-8") as file:
        text = file.read()
    wanted, places = BORDERS.subn(lambda match: match[1] + printed.strip() + "\n" + match[2], text)
    if places != 1:
        print("readme: wanted one <!-- settings --> ... <!-- /settings -->, found", places)
        return 1
    if write:
        with open(readme, "w", encoding="utf-8") as file:
            file.write(wanted)
        return 0
    same = wanted == text
    print("[       OK ]" if same else "[  FAILED  ]", "settings_in_the_readme_are_the_servers")
    if not same:
        print("run bazel/check/readme.py --write README.md <the server that bazel built>")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
