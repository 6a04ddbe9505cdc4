// SPDX-License-Identifier: BSD-3-Clause
// merge_captures OUT_ETHERNET OUT_RAW_IP FILE...: the packets of many captures in two, one per link type, so that a
// comparison needs one run of each program. Prints a line "link count file" per capture, in the order of the packets.
#include <pcap/pcap.h>

#include <cstdio>

namespace {

pcap_dumper_t* open_out(const char* path, int dlt) {
  pcap_t* dead = pcap_open_dead_with_tstamp_precision(dlt, 262'144, PCAP_TSTAMP_PRECISION_NANO);
  if (!dead) return nullptr;
  pcap_dumper_t* out = pcap_dump_open(dead, path);
  pcap_close(dead);  // the file's header is written; the dumper needs it no more
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  pcap_dumper_t* ethernet = open_out(argv[1], DLT_EN10MB);
  pcap_dumper_t* raw = open_out(argv[2], DLT_RAW);
  if (!ethernet || !raw) return 1;
  for (int i = 3; i < argc; ++i) {
    char why[PCAP_ERRBUF_SIZE];
    pcap_t* in = pcap_open_offline_with_tstamp_precision(argv[i], PCAP_TSTAMP_PRECISION_NANO, why);
    if (!in) continue;
    const int dlt = pcap_datalink(in);
    const bool is_raw = dlt == DLT_RAW || dlt == DLT_IPV4 || dlt == DLT_IPV6;
    if (dlt == DLT_EN10MB || is_raw) {
      pcap_pkthdr* header;
      const u_char* bytes;
      size_t n = 0;
      for (; pcap_next_ex(in, &header, &bytes) == 1; ++n) {
        pcap_dump(reinterpret_cast<u_char*>(is_raw ? raw : ethernet), header, bytes);
      }
      std::printf("%s %zu %s\n", is_raw ? "raw_ip" : "ethernet", n, argv[i]);
    }
    pcap_close(in);
  }
  pcap_dump_close(ethernet);
  pcap_dump_close(raw);
}
