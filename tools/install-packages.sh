#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Installs the Debian packages of the named sets (build, test, demo, lint) that are not there yet.
#   tools/install-packages.sh build demo
# docs/dependencies.md says what each is for. As root or with sudo.
set -eu

build="g++ meson ninja-build pkg-config libdpdk-dev libsodium-dev libyaml-cpp-dev libcli11-dev libspdlog-dev
  nlohmann-json3-dev libexpected-dev prometheus-cpp-dev libpcap-dev libcurl4-openssl-dev libgtest-dev libbenchmark-dev"
test="python3 tshark iputils-ping valgrind"
demo="python3 iproute2 ethtool nftables nginx-light openssl curl iperf3 tcpdump procps etcd-server"
lint="clang clang-tidy clang-format libclang-rt-14-dev llvm"

want=""
for set in "$@"; do
  case $set in
    build) want="$want $build" ;;
    test) want="$want $test" ;;
    demo) want="$want $demo" ;;
    lint) want="$want $lint" ;;
    *) echo "install-packages.sh: no set '$set'; sets are build, test, demo, lint" >&2; exit 2 ;;
  esac
done

missing=""
for package in $want; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "installing:$missing"
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
# Packages that bring a service (nginx) must not start it on this machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
  $sudo chmod +x $policy
  trap '$sudo rm -f $policy' EXIT
fi
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
