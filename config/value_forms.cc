// SPDX-License-Identifier: BSD-3-Clause
#include "config/value_forms.h"

#include <algorithm>

namespace statecast {

namespace {

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

bool is_printable(std::string_view t) {
  return std::none_of(t.begin(), t.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

// A text that `good` takes, as it is.
ValueForm<std::string> text_that(const char* type, std::string range, std::string expected,
                                 std::function<bool(std::string_view)> good) {
  return {type, std::move(range), std::move(expected),
          [good = std::move(good)](std::string_view t) -> std::optional<std::string> {
            if (!is_printable(t) || !good(t)) return std::nullopt;
            return std::string(t);
          },
          [](const std::string& v) { return yaml_scalar(v); }};
}

}  // namespace

ValueForm<Duration> duration_value(Duration min, Duration max, const char* example) {
  std::string low = duration_text(min), high = duration_text(max);
  return {"duration", low + " to " + high,
          "a duration between " + low + " and " + high + " such as \"" + example + "\"",
          [=](std::string_view t) -> std::optional<Duration> {
            auto d = parse_duration(t);
            return d && *d >= min && *d <= max ? d : std::nullopt;
          },
          duration_text};
}

ValueForm<ByteCount> bytes_value(ByteCount min, const char* example) {
  std::string low = byte_count_text(min);
  return {"bytes", low + " or more, or unlimited",
          "a number of bytes of at least " + low + " such as \"" + example + "\", or \"unlimited\"",
          [=](std::string_view t) -> std::optional<ByteCount> {
            auto b = parse_byte_count(t);
            return b && *b >= min ? b : std::nullopt;
          },
          byte_count_text};
}

ValueForm<bool> bool_value() {
  return {"true or false", "", "true or false",
          [](std::string_view t) -> std::optional<bool> {
            if (t == "true") return true;
            if (t == "false") return false;
            return std::nullopt;
          },
          [](const bool& b) { return std::string(b ? "true" : "false"); }};
}

ValueForm<std::string> text_value(const char* type, const char* expected) {
  return text_that(type, "", expected, [](std::string_view) { return true; });
}

ValueForm<std::string> name_value() {
  return text_that("name", "1 to 64 of a-z A-Z 0-9 - _ ., not a number",
                   "a name of 1 to 64 letters, digits, '-', '_' or '.' that is not a number", [](std::string_view t) {
                     return !t.empty() && t.size() <= 64 && std::all_of(t.begin(), t.end(), is_name_char) &&
                            t.find_first_not_of("0123456789") != std::string_view::npos;
                   });
}

ValueForm<std::string> path_value(const char* example) {
  return text_that("path", "", std::string("a path such as \"") + example + "\"",
                   [](std::string_view t) { return !t.empty(); });
}

ValueForm<std::string> optional_path_value(const char* example) {
  return text_that("path", "", std::string("a path such as \"") + example + "\", or \"\" for none",
                   [](std::string_view) { return true; });
}

ValueForm<std::string> interface_value() {
  return text_that("name", "1 to 15 bytes", "a network device's name of 1 to 15 bytes such as \"statecast0\"",
                   [](std::string_view t) {
                     return !t.empty() && t.size() < 16 && t != "." && t != ".." &&
                            t.find_first_of("/ :%") == std::string_view::npos;
                   });
}

ValueForm<std::string> listen_value() {
  return text_that("address:port", "", "an address and port such as \"127.0.0.1:9101\", or \"\" for none",
                   [](std::string_view t) {
                     auto e = Endpoint::parse(t);
                     return t.empty() || (e && e->port.value != 0);
                   });
}

ValueForm<std::string> device_value() {
  return text_that("text", "",
                   "a PCI address such as \"0000:03:00.0\" or a virtual device such as \"net_af_packet0,iface=eth1\"",
                   [](std::string_view t) { return !t.empty() && t.find(' ') == std::string_view::npos; });
}

ValueForm<std::string> url_value() {
  return text_that("url", "",
                   "http:// or https:// with a host and a port, and no more, such as \"http://10.0.0.5:2379\"",
                   [](std::string_view t) {
                     for (std::string_view scheme : {"http://", "https://"}) {
                       if (!t.starts_with(scheme)) continue;
                       const std::string_view host = t.substr(scheme.size());
                       const size_t colon = host.rfind(':');
                       return colon != 0 && colon != std::string_view::npos &&
                              parse_whole_number(host.substr(colon + 1), 65'535).value_or(0) != 0 &&
                              host.find_first_of("/ @?#") == std::string_view::npos;
                     }
                     return false;
                   });
}

ValueForm<std::string> key_prefix_value() {
  return text_that("text", "2 to 100 bytes",
                   "a prefix of 2 to 100 bytes with '/' before it and none after it, such as \"/statecast\"",
                   [](std::string_view t) {
                     return t.size() >= 2 && t.size() <= 100 && t.front() == '/' && t.back() != '/' &&
                            std::all_of(t.begin(), t.end(), [](char c) { return c > ' ' && c < 0x7f; });
                   });
}

ValueForm<std::string> word_value(std::initializer_list<const char*> words) {
  std::vector<std::pair<std::string, std::string>> choices;
  for (const char* w : words) choices.emplace_back(w, w);
  return choice_value<std::string>(std::move(choices));
}

ValueForm<IpAddress> address_value() {
  return {"address", "", "an address such as \"10.0.0.1\" or \"2001:db8::1\"", IpAddress::parse,
          [](const IpAddress& a) { return yaml_scalar(to_string(a)); }};
}

ValueForm<Endpoint> endpoint_value(uint16_t default_port, const char* example) {
  return {"address:port", "", std::string("an address and port such as \"") + example + "\"",
          [=](std::string_view t) -> std::optional<Endpoint> {
            if (auto e = Endpoint::parse(t)) return e->port.value != 0 ? e : std::nullopt;
            auto a = IpAddress::parse(t);
            if (!a || default_port == 0) return std::nullopt;
            return Endpoint{*a, Port{default_port}};
          },
          [](const Endpoint& e) { return yaml_scalar(to_string(e)); }};
}

ValueForm<Endpoint> bind_value() {
  return {"address:port", "", "an address and port such as \"0.0.0.0:0\" (port 0: any)", Endpoint::parse,
          [](const Endpoint& e) { return yaml_scalar(to_string(e)); }};
}

std::string prefix_text(const Prefix& p) {
  return p.length == p.address.size() * 8 ? to_string(p.address) : to_string(p);
}

ValueForm<Prefix> prefix_value() {
  return {"prefix", "", "an address or a prefix without host bits such as \"203.0.113.10\" or \"2001:db8:1::/48\"",
          Prefix::parse, [](const Prefix& p) { return yaml_scalar(prefix_text(p)); }};
}

ValueForm<PortConfig::Address> interface_address_value() {
  return {
      "address/length", "", "an address with its network's length such as \"10.1.1.1/24\"",
      [](std::string_view t) -> std::optional<PortConfig::Address> {
        size_t slash = t.find('/');
        if (slash == std::string_view::npos) return std::nullopt;
        auto a = IpAddress::parse(t.substr(0, slash));
        auto length = a ? parse_whole_number(t.substr(slash + 1), a->is_v4() ? 32 : 128) : std::nullopt;
        if (!length || *length == 0) return std::nullopt;
        return PortConfig::Address{*a, static_cast<uint8_t>(*length)};
      },
      [](const PortConfig::Address& a) { return yaml_scalar(to_string(a.address) + "/" + std::to_string(a.length)); }};
}

ValueForm<RuleConfig::Ports> ports_value() {
  return {"port or range", "1 to 65535", "a port such as 443, or a range such as \"1000-2000\"",
          [](std::string_view t) -> std::optional<RuleConfig::Ports> {
            size_t dash = t.find('-');
            auto first = parse_whole_number(t.substr(0, dash), 65535);
            auto last = dash == std::string_view::npos ? first : parse_whole_number(t.substr(dash + 1), 65535);
            if (!first || !last || *first == 0 || *last < *first) return std::nullopt;
            return RuleConfig::Ports{static_cast<uint16_t>(*first), static_cast<uint16_t>(*last)};
          },
          [](const RuleConfig::Ports& p) {
            std::string s = std::to_string(p.first);
            return p.last == p.first ? s : s + "-" + std::to_string(p.last);
          }};
}

}  // namespace statecast
