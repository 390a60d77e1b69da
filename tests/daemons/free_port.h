// A port for a program that cannot take a free one by itself.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <random>

#include "base/check.h"

namespace ballast {

// A port of 127.0.0.1 that nobody has at this moment. It lies below those that Linux gives to connections and
// to whoever takes any port, so that none of these takes it before the program does.
inline int FreePort() {
  constexpr int kFirst = 16000, kLast = 32000;
  std::random_device random;
  while (true) {
    const int port = std::uniform_int_distribution<int>(kFirst, kLast)(random);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    BALLAST_CHECK(fd >= 0) << "no socket";
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    const bool free = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    close(fd);
    if (free) return port;
  }
}

}  // namespace ballast
