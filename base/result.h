// SPDX-License-Identifier: BSD-3-Clause
// Result<T>: a value or an Error that a person can act on. Not for packets: they have verdicts and counters.
//
//   Result<Config> load(path);
//   auto c = load(path);
//   if (!c) return fail(c.error().in("while reloading"));
//
// Threads: values. Ownership: none.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace statecast {

enum class Code {
  invalid,      // the input is wrong whatever the state of the world (a bad file, a bad argument)
  not_found,    // what was asked for is not there
  conflict,     // it is there, and that is the problem (an insert met another owner's mapping)
  unavailable,  // try again later or elsewhere (a peer that does not answer)
  denied,       // the asker may not do this
  system,       // the operating system or a library refused; the message carries its words
};

struct Error {
  Code code;
  std::string message;  // what was wrong, where, and what to do

  // The same error with what was being done put before it.
  Error in(const std::string& doing) && { return {code, doing + ": " + message}; }
  Error in(const std::string& doing) const& { return {code, doing + ": " + message}; }
};

template <class T = void>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(Error e) {
  return tl::unexpected<Error>(std::move(e));
}
inline tl::unexpected<Error> fail(Code code, std::string message) {
  return fail(Error{code, std::move(message)});
}

}  // namespace statecast
