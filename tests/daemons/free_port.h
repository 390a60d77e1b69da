// A port for a program that cannot take a free one by itself.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"

namespace ballast {

// A port of 127.0.0.1 that nobody has at this moment.
inline int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  BALLAST_CHECK(bind(fd, reinterpret_cast<sockaddr*>(&address), bytes) == 0 &&
                getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes) == 0);
  close(fd);
  return ntohs(address.sin_port);
}

}  // namespace ballast
