#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# clang-format and clang-tidy over our sources; any finding fails.
#   tools/lint.sh build 2
set -eu
build=$1 jobs=$2
cd "$(dirname "$0")/.."
git ls-files '*.h' '*.cc' | xargs clang-format --dry-run --Werror
git ls-files '*.cc' | xargs -P "$jobs" -n 4 clang-tidy --quiet -p "$build"
