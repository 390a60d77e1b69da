// A plug-in of an interface that never was.
#include "worker/backend/plugin.h"

extern "C" ballast::DevicePlugin* ballast_device_plugin(int abi) {
  static_cast<void>(abi);
  return nullptr;
}
