// SPDX-License-Identifier: BSD-3-Clause
#include "config/values.h"

#include <charconv>
#include <span>

namespace statecast {

namespace {

struct Unit {
  const char* name;
  uint64_t factor;
};
constexpr Unit kTimes[] = {{"h", 3'600'000'000'000}, {"min", 60'000'000'000}, {"s", 1'000'000'000},
                           {"ms", 1'000'000},        {"us", 1'000},           {"ns", 1}};
constexpr Unit kSizes[] = {
    {"TiB", 1ull << 40}, {"GiB", 1ull << 30}, {"MiB", 1ull << 20}, {"KiB", 1ull << 10}, {"B", 1}};

// "12ms" as 12 and "ms"
std::optional<uint64_t> number_and_unit(std::string_view text, std::string_view& unit) {
  uint64_t n = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc{}) return std::nullopt;
  unit = text.substr(static_cast<size_t>(end - text.data()));
  return n;
}

std::optional<uint64_t> scaled(std::string_view text, std::span<const Unit> units, uint64_t max) {
  std::string_view name;
  auto n = number_and_unit(text, name);
  if (!n) return std::nullopt;
  for (const Unit& u : units)
    if (name == u.name && *n <= max / u.factor) return *n * u.factor;
  return std::nullopt;
}

std::string in_largest(uint64_t v, std::span<const Unit> units) {
  for (const Unit& u : units)
    if (v % u.factor == 0) return std::to_string(v / u.factor) + u.name;
  return std::to_string(v);
}

}  // namespace

std::optional<Duration> parse_duration(std::string_view text) {
  if (text == "0") return Duration(0);
  auto v = scaled(text, kTimes, INT64_MAX);
  if (!v) return std::nullopt;
  return Duration(static_cast<int64_t>(*v));
}

std::string duration_text(Duration d) {
  if (d <= Duration(0)) return "0s";
  if (d == std::chrono::minutes(1)) return "60s";  // as people say it
  return in_largest(static_cast<uint64_t>(d.count()), kTimes);
}

std::optional<ByteCount> parse_byte_count(std::string_view text) {
  if (text == "unlimited") return ByteCount{UINT64_MAX};
  if (auto plain = parse_whole_number(text, UINT64_MAX - 1)) return ByteCount{*plain};
  auto v = scaled(text, kSizes, UINT64_MAX - 1);
  if (!v) return std::nullopt;
  return ByteCount{*v};
}

std::string byte_count_text(ByteCount b) {
  if (b.value == UINT64_MAX) return "unlimited";
  return b.value == 0 ? "0B" : in_largest(b.value, kSizes);
}

std::optional<uint64_t> parse_whole_number(std::string_view text, uint64_t max) {
  std::string_view rest;
  auto n = number_and_unit(text, rest);
  return n && rest.empty() && *n <= max ? n : std::nullopt;
}

}  // namespace statecast
