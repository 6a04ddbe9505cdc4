// SPDX-License-Identifier: BSD-3-Clause
// Captures in and out, by libpcap: pcap and pcapng, whatever link type.
//
//   auto in = CaptureReader::open("attack.pcapng");
//   for (CapturedPacket p; in->next(p);) ...
//   if (!in->end_note().empty()) warn(in->end_note());      // the file was cut short: what came before it was read
//
// Threads: one. Ownership: a packet's bytes are the reader's, valid until the next call.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "base/units.h"

struct pcap;
struct pcap_dumper;

namespace statecast {

enum class LinkType : uint8_t { ethernet, raw_ip, other };

struct CapturedPacket {
  Bytes bytes;
  Instant at{};         // the capture's clock: nanoseconds since 1970
  uint32_t length = 0;  // on the wire; bytes may be fewer
};

class CaptureReader {
 public:
  static Result<std::unique_ptr<CaptureReader>> open(const std::string& path);
  ~CaptureReader();

  LinkType link() const { return link_; }
  bool next(CapturedPacket& out);  // false at the end
  const std::string& end_note() const { return end_note_; }

 private:
  CaptureReader(pcap* handle, LinkType link) : handle_(handle), link_(link) {}
  pcap* handle_;
  LinkType link_;
  std::string end_note_;
};

// Ethernet frames with nanosecond times.
class CaptureWriter {
 public:
  static Result<std::unique_ptr<CaptureWriter>> create(const std::string& path);
  ~CaptureWriter();
  void write(Bytes frame, Instant at);
  Result<> close();  // says whether everything reached the file

 private:
  CaptureWriter(pcap* handle, pcap_dumper* dumper, std::string path)
      : handle_(handle), dumper_(dumper), path_(std::move(path)) {}
  pcap* handle_;
  pcap_dumper* dumper_;
  std::string path_;
};

}  // namespace statecast
