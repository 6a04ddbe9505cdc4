// SPDX-License-Identifier: BSD-3-Clause
// Text -> tree -> structs (by the tables) -> checks across values -> defaults that depend on others. A step that found
// errors ends the load, so that a slip is reported once.
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/schema.h"
#include "config/validate.h"

namespace statecast {

namespace {

void complete(ProxyConfig& c) {
  std::string id = std::to_string(c.id.value);
  if (c.control_socket.empty()) c.control_socket = "/run/statecast/proxy-" + id + ".sock";
  if (c.dpdk.file_prefix.empty()) c.dpdk.file_prefix = "statecast-p" + id;
}

void complete(AgentConfig& c) {
  if (c.control_socket.empty()) c.control_socket = "/run/statecast/agent-" + std::to_string(c.id.value) + ".sock";
  if (c.bind.address.is_none())
    c.bind.address = *IpAddress::parse(c.proxies[0].address.address.is_v4() ? "0.0.0.0" : "::");
}

// Paths are relative to the file that names them.
void resolve_paths(const std::filesystem::path& folder, std::initializer_list<std::string*> paths) {
  for (std::string* p : paths)
    if (!p->empty() && (*p)[0] != '/') *p = (folder / *p).lexically_normal().string();
}

template <class Config>
Result<Config> parse(const std::string& text, const std::string& name, Program program, const Table<Config>& table) {
  auto tree = parse_yaml(text, name);
  if (!tree) return fail(tree.error());
  Loading loading(program, name);
  Config c;
  if (tree->kind == YamlNode::Kind::null)
    loading.error(*tree, "the file is empty; expected " + table.expected);
  else
    table.read(loading, *tree, c);
  if (!loading.ok()) return fail(loading.all());
  if constexpr (std::is_same_v<Config, AgentConfig>)
    if (!c.proxies.empty()) complete(c);
  if constexpr (std::is_same_v<Config, ProxyConfig>) complete(c);
  validate(loading, *tree, c);
  if (!loading.ok()) return fail(loading.all());
  return c;
}

Result<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::error_code error;
  if (!in || std::filesystem::is_directory(path, error))
    return fail(Code::not_found, path + ": cannot be read: " + (in ? "is a directory" : std::strerror(errno)));
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

template <class Config>
std::string written(const Config& c, Program program, const Table<Config>& table) {
  YamlText y;
  table.write(y, program, c);
  return y.take();
}

}  // namespace

Result<ProxyConfig> parse_proxy_config(const std::string& text, const std::string& name) {
  return parse(text, name, Program::proxy, proxy_table());
}
Result<AgentConfig> parse_agent_config(const std::string& text, const std::string& name) {
  return parse(text, name, Program::agent, agent_table());
}

Result<PktgenConfig> parse_pktgen_config(const std::string& text, const std::string& name) {
  return parse(text, name, Program::pktgen, pktgen_table());
}

Result<ProxyConfig> load_proxy_config(const std::string& path) {
  auto text = read_file(path);
  if (!text) return fail(text.error());
  auto c = parse_proxy_config(*text, path);
  if (c)
    resolve_paths(std::filesystem::path(path).parent_path(),
                  {&c->fleet_secret, &c->control_socket, &c->directory.etcd.ca, &c->directory.etcd.certificate,
                   &c->directory.etcd.key});
  return c;
}
Result<AgentConfig> load_agent_config(const std::string& path) {
  auto text = read_file(path);
  if (!text) return fail(text.error());
  auto c = parse_agent_config(*text, path);
  if (c) resolve_paths(std::filesystem::path(path).parent_path(), {&c->node_key, &c->control_socket, &c->state_dir});
  return c;
}

Result<PktgenConfig> load_pktgen_config(const std::string& path) {
  auto text = read_file(path);
  if (!text) return fail(text.error());
  auto c = parse_pktgen_config(*text, path);
  if (!c) return c;
  auto folder = std::filesystem::path(path).parent_path();
  for (auto& s : c->streams) resolve_paths(folder, {&s.capture});
  for (auto& m : c->member_side.members) resolve_paths(folder, {&m.node_key});
  return c;
}

std::string to_yaml(const ProxyConfig& c) {
  return written(c, Program::proxy, proxy_table());
}
std::string to_yaml(const AgentConfig& c) {
  return written(c, Program::agent, agent_table());
}

std::string to_yaml(const PktgenConfig& c) {
  return written(c, Program::pktgen, pktgen_table());
}

Result<ConfigKind> config_kind(const std::string& path) {
  auto text = read_file(path);
  if (!text) return fail(text.error());
  auto tree = parse_yaml(*text, path);
  if (!tree) return fail(tree.error());
  int proxy = 0, agent = 0;
  for (const char* key : {"fleet_secret", "dpdk", "cache", "directory", "ports", "members"})
    proxy += tree->find(key) != nullptr;
  for (const char* key : {"node_key", "state_dir", "device", "bind"}) agent += tree->find(key) != nullptr;
  if (proxy == agent)
    return fail(Code::invalid, path +
                                   ": cannot tell whether this is a proxy's file (it has fleet_secret and ports) or an "
                                   "agent's (it has node_key): say --kind proxy or --kind agent");
  return proxy > agent ? ConfigKind::proxy : ConfigKind::agent;
}

}  // namespace statecast
