#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Builds the fuzzers of a build folder (set up with -Dfuzz=true and clang++) and runs each for some seconds:
#   tests/fuzz/run.sh build-fuzz 60          all
#   tests/fuzz/run.sh build-fuzz 60 parse    one
# New inputs are kept in BUILD/corpus/NAME; an input that breaks something in BUILD/crashes/NAME-*: add it, shortened
# (-minimize_crash=1), to tests/fuzz/corpus/NAME together with the fix.
set -eu
build=$1
seconds=$2
shift 2
here=$(dirname "$0")
ninja -C "$build" fuzzers
mkdir -p "$build/crashes"
failed=0
for program in "$build"/tests/fuzz/fuzz_*; do
  name=$(basename "$program")
  name=${name#fuzz_}
  case $name in *_replay | *.p) continue ;; esac
  [ $# -eq 0 ] || case " $* " in *" $name "*) ;; *) continue ;; esac
  mkdir -p "$build/corpus/$name"
  echo "fuzz_$name: $seconds s"
  "$program" -max_total_time="$seconds" -max_len=4096 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="$build/crashes/$name-" "$build/corpus/$name" "$here/corpus/$name" 2>&1 |
    tee "$build/crashes/$name.log" | grep -E "^(stat::number_of_executed_units|.*SUMMARY|.*BINGO|==)" || true
  grep -q "stat::number_of_executed_units" "$build/crashes/$name.log" && ! grep -q "SUMMARY" "$build/crashes/$name.log" ||
    { echo "fuzz_$name FAILED, see $build/crashes/$name.log"; failed=1; }
done
exit $failed
