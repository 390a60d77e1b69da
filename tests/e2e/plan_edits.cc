#include "tests/e2e/plan_edits.h"

namespace ballast {

v1::PlanFile RotateExperts(const v1::Plan& active) {
  v1::PlanFile file;
  file.set_base_version(active.version());
  for (int l = 0; l < active.body().layers_size(); ++l) {
    const v1::LayerPlan& layer = active.body().layers(l);
    v1::PlanFile::Layer* edit = file.add_layers();
    edit->set_layer(l);
    int ranks = layer.slots_size();
    for (int r = 0; r < ranks; ++r) {
      v1::HostedExperts* hosted = edit->add_hosts();
      for (int expert : layer.slots((r + ranks - 1) % ranks).experts()) {
        if (expert >= 0) hosted->add_experts(expert);
      }
    }
  }
  return file;
}

void MoveHomes(const v1::Plan& active, int from, int to, int blocks, v1::PlanFile& file) {
  for (int block = 0; block < active.body().homes_size() && blocks > 0; ++block) {
    if (active.body().homes(block) != from) continue;
    v1::PlanFile::Home* home = file.add_homes();
    home->set_block(block);
    home->set_rank(to);
    --blocks;
  }
}

}  // namespace ballast
