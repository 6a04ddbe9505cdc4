// SPDX-License-Identifier: BSD-3-Clause
// Eal: DPDK's environment for tests and benchmarks, without huge pages, devices or root's leftovers.
//
//   testing::AddGlobalTestEnvironment(new EalEnvironment);   // or start_eal() by hand
//
// Threads: start once, from main. Ownership: the process's.
#pragma once

#include <gtest/gtest.h>
#include <rte_eal.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace statecast {

inline bool start_eal(unsigned memory_mb = 256) {
  std::vector<std::string> words = {"test",
                                    "--no-huge",
                                    "-m",
                                    std::to_string(memory_mb),
                                    "--no-pci",
                                    "--file-prefix",
                                    "statecast-test" + std::to_string(getpid()),
                                    "--lcores",
                                    "0",
                                    "--no-telemetry",
                                    "--log-level",
                                    "error"};
  static std::vector<char*> argv;  // rte_eal_init keeps pointers into it
  static std::vector<std::string> kept;
  kept = words;
  for (std::string& w : kept) argv.push_back(w.data());
  return rte_eal_init(int(argv.size()), argv.data()) >= 0;
}

class EalEnvironment : public testing::Environment {
 public:
  explicit EalEnvironment(unsigned memory_mb = 256) : memory_mb_(memory_mb) {}
  void SetUp() override { ASSERT_TRUE(start_eal(memory_mb_)); }
  void TearDown() override { rte_eal_cleanup(); }

 private:
  unsigned memory_mb_;
};

}  // namespace statecast
