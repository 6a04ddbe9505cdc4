// SPDX-License-Identifier: BSD-3-Clause
// Runs a fuzz target over files without libFuzzer: over those named, and all files of folders that are named.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

size_t replay(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) {
    size_t n = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path)) n += replay(entry.path());
    return n;
  }
  std::ifstream in(path, std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  std::printf("%s\n", path.c_str());
  std::fflush(stdout);  // so that a crash names its input
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  size_t n = 0;
  for (int i = 1; i < argc; ++i) n += replay(argv[i]);
  std::printf("%zu inputs\n", n);
  return n ? 0 : 1;  // an empty corpus is a mistake
}
