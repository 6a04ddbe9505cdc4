// SPDX-License-Identifier: BSD-3-Clause
// Hello and path messages: what two peers say to agree on session keys and to keep their path known. Message types
// 0x01..0x1f, each the payload of an envelope of group 0 (kind message, O = 1). The machine that speaks them is the
// control part of PeerTable (hello.cc, path.cc).
//
// A hello is three messages under the hello keys (key epoch 0), then one envelope each way under the new session keys:
//
//   initiator                                   responder
//     | -- hello(salt I, epoch I) ---------------> |   keeps nothing
//     | <-- answer(salt I, salt R, epoch R) ------ |   salt R is bound to address, time and hello
//   has the keys, receives under them              |
//     | -- confirm(salt I, salt R, issued) ------> |   proves that the initiator is alive at this address
//     |                            has the keys, receives under them
//     | <-- keep-alive under the new keys -------- |
//   sends under them                               |
//     | -- keep-alive answer, new keys ----------> |   sends under them
//
// "Epoch X" is the key epoch that X wants to see in what it receives: each side names its own, from slots that hold
// neither its current nor its previous keys, so hellos that cross cannot collide. The responder keeps no state before
// the confirm, so a recorded hello costs it an answer and nothing else. Salt R is a keyed hash, under a secret drawn at
// the start, of everything that makes the exchange: initiator and its boot, salt I, both epochs, the address it came
// from and the time of the answer; so it is new for each exchange, nobody can foresee it, and the confirm can be
// checked against it. Of confirms only one whose answer is younger than all before counts: a recorded one brings
// nothing back.
//
//   hello (0x01)                         answer (0x02)       confirm (0x03)
//   0   type                             type                type
//   1   epoch I                          epoch R             epoch I
//   2   zero                             epoch I             epoch R
//   3   zero                             zero                zero
//   4   salt I (16)                      salt I (16)         salt I (16)
//   20  echo: newest timestamp heard (6) salt R (16)         salt R (16)
//   26  echo: its boot (4)               .                   .
//   30  zero (18)                        .                   .
//   36  .                                zero (12)           issued: timestamp of the answer (6)
//   42  .                                .                   zero (2)
//   44  .                                .                   boot of the answer (4)
//
// All are 48 bytes long, so that an answer is never larger than what caused it.
//
//   keep-alive (0x08), 16 bytes                       challenge (0x09), challenge echo (0x0a), 16 bytes
//   0   type                                          type
//   1   flags: 1 = please answer                      zero (7)
//   2   echo: timestamp of your last keep-alive (6)   nonce (8)
//   8   held: us between its arrival and this (4)
//   12  zero (4)
//
// "Zero" is written as zero and ignored on receipt. Boot and timestamp of the sender stand in the auth option.
// Threads: pure functions. Ownership: values.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/units.h"
#include "dataplane/envelope/envelope.h"
#include "dataplane/envelope/keys.h"

namespace statecast {

enum class HelloType : uint8_t { hello = 0x01, answer = 0x02, confirm = 0x03 };
inline constexpr size_t kHelloSize = 48;

struct HelloMessage {
  HelloType type = HelloType::hello;
  uint8_t initiator_epoch = 0;
  uint8_t responder_epoch = 0;  // answer and confirm
  Salt initiator_salt{};
  Salt responder_salt{};  // answer and confirm
  // hello: newest stamp heard of the responder, zero if none. confirm: stamp of the answer.
  Stamp echo;
};
void write_hello(const HelloMessage& m, Writer& w);
std::optional<HelloMessage> read_hello(Bytes payload);

enum class PathType : uint8_t { keep_alive = 0x08, challenge = 0x09, challenge_echo = 0x0a };
inline constexpr size_t kPathSize = 16;

struct PathMessage {
  PathType type = PathType::keep_alive;
  bool answer_wanted = false;  // keep-alive
  uint64_t echo_us = 0;        // keep-alive: 0 = none yet
  uint32_t held_us = 0;        // keep-alive
  uint64_t nonce = 0;          // challenge and its echo
};
void write_path(const PathMessage& m, Writer& w);
std::optional<PathMessage> read_path(Bytes payload);

// Clockwork. All of it is kept in PeerTable::on_deadline.
inline constexpr Duration kKeepAlivePeriod = 250ms;     // agent to each proxy, and between proxies
inline constexpr Duration kSilenceBeforeHello = 750ms;  // three keep-alives unanswered
inline constexpr Duration kHelloRetry = 200ms;          // within one exchange
inline constexpr Duration kHelloRetrySlow = 500ms;      // after kHelloFastExchanges without success
inline constexpr unsigned kHelloRetries = 5;            // then a new exchange with a new salt
inline constexpr unsigned kHelloFastExchanges = 4;
inline constexpr Duration kHelloHigherWaits = 300ms;  // between proxies without keys the lower ID begins
inline constexpr Duration kAnswerLife = 5s;           // how old an answer may be when its confirm comes
inline constexpr Duration kRehelloPeriod = 10min;     // new keys, though nothing is wrong
inline constexpr Duration kChallengeRetry = 100ms;    // to a new address, at most

}  // namespace statecast
