// SPDX-License-Identifier: BSD-3-Clause
// Quantities as people write them, in configuration files and on the command line, and back.
//
//   parse_duration("250ms") == 250ms        duration_text(90s) == "90s", duration_text(120s) == "2min"
//   parse_byte_count("64KiB")               byte_count_text({65536}) == "64KiB"; {UINT64_MAX} is "unlimited"
//
// Threads: pure functions. Ownership: none.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/units.h"

namespace statecast {

// A whole number and ns, us, ms, s, min or h; "0" needs no unit.
std::optional<Duration> parse_duration(std::string_view text);
std::string duration_text(Duration d);  // in the largest unit in which it is a whole number

// A whole number, alone or with B, KiB, MiB, GiB or TiB; or "unlimited".
std::optional<ByteCount> parse_byte_count(std::string_view text);
std::string byte_count_text(ByteCount b);

// Decimal digits only, at most `max`.
std::optional<uint64_t> parse_whole_number(std::string_view text, uint64_t max);

}  // namespace statecast
