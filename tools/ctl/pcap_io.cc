// SPDX-License-Identifier: BSD-3-Clause
#include "tools/ctl/pcap_io.h"

#include <pcap/pcap.h>

#include <algorithm>

namespace statecast {
namespace {

constexpr int kSnapLengthMax = 262'144;  // libpcap's own bound

LinkType link_type(int dlt) {
  switch (dlt) {
    case DLT_EN10MB: return LinkType::ethernet;
    case DLT_RAW:
    case DLT_IPV4:
    case DLT_IPV6: return LinkType::raw_ip;
    default: return LinkType::other;
  }
}

}  // namespace

Result<std::unique_ptr<CaptureReader>> CaptureReader::open(const std::string& path) {
  char why[PCAP_ERRBUF_SIZE] = "";
  pcap_t* handle = pcap_open_offline_with_tstamp_precision(path.c_str(), PCAP_TSTAMP_PRECISION_NANO, why);
  if (!handle) return fail(Code::invalid, path + ": not a capture that can be read (pcap or pcapng): " + why);
  return std::unique_ptr<CaptureReader>(new CaptureReader(handle, link_type(pcap_datalink(handle))));
}

CaptureReader::~CaptureReader() {
  pcap_close(handle_);
}

bool CaptureReader::next(CapturedPacket& out) {
  pcap_pkthdr* header = nullptr;
  const u_char* bytes = nullptr;
  const int got = pcap_next_ex(handle_, &header, &bytes);
  if (got != 1) {
    if (got == PCAP_ERROR) end_note_ = pcap_geterr(handle_);
    return false;
  }
  out.bytes = {bytes, header->caplen};
  out.length = header->len;
  // Seconds of a broken capture may be anything: they are kept within what an Instant can say.
  const int64_t seconds = std::clamp<int64_t>(header->ts.tv_sec, 0, INT64_MAX / 2'000'000'000);
  out.at = Instant(Duration(seconds * 1'000'000'000 + std::clamp<int64_t>(header->ts.tv_usec, 0, 999'999'999)));
  return true;
}

Result<std::unique_ptr<CaptureWriter>> CaptureWriter::create(const std::string& path) {
  pcap_t* handle = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, kSnapLengthMax, PCAP_TSTAMP_PRECISION_NANO);
  if (!handle) return fail(Code::system, "libpcap: no memory");
  pcap_dumper_t* dumper = pcap_dump_open(handle, path.c_str());
  if (!dumper) {
    auto error = fail(Code::system, std::string("cannot write ") + pcap_geterr(handle));
    pcap_close(handle);
    return error;
  }
  return std::unique_ptr<CaptureWriter>(new CaptureWriter(handle, dumper, path));
}

CaptureWriter::~CaptureWriter() {
  if (dumper_) pcap_dump_close(dumper_);
  pcap_close(handle_);
}

void CaptureWriter::write(Bytes frame, Instant at) {
  const int64_t ns = at.time_since_epoch().count();
  pcap_pkthdr header{};
  header.ts.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
  header.ts.tv_usec = static_cast<suseconds_t>(ns % 1'000'000'000);  // nanoseconds: see create()
  header.caplen = header.len = static_cast<bpf_u_int32>(frame.size());
  pcap_dump(reinterpret_cast<u_char*>(dumper_), &header, frame.data());
}

Result<> CaptureWriter::close() {
  const bool written = pcap_dump_flush(dumper_) == 0;
  pcap_dump_close(dumper_);
  dumper_ = nullptr;
  if (!written) return fail(Code::system, path_ + ": could not be written completely (disk full?)");
  return {};
}

}  // namespace statecast
