// deploy/kubernetes/base: fields, names that must agree, the "restricted" profile, and the command lines: the
// daemons come up with exactly these. There is no API server here; that Kubernetes takes the objects is shown
// no further than this.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "ctl/certs.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/program_help.h"
#include "wire/source.h"

namespace ballast {
namespace {

const std::string kBase = BALLAST_SOURCE_DIR "/deploy/kubernetes/base/";

// What stands at "spec.template.spec"; null when there is nothing.
const SourceNode* Find(const SourceNode& node, const std::string& path) {
  const SourceNode* at = &node;
  for (absl::string_view key : absl::StrSplit(path, '.')) {
    auto entry = std::find_if(at->entries.begin(), at->entries.end(),
                              [&](const SourceEntry& candidate) { return candidate.key == key; });
    if (entry == at->entries.end()) return nullptr;
    at = &entry->value;
  }
  return at;
}

std::string Text(const SourceNode& node, const std::string& path) {
  const SourceNode* found = Find(node, path);
  return found == nullptr ? "" : found->text;
}

std::vector<SourceNode> List(const SourceNode& node, const std::string& path) {
  const SourceNode* found = Find(node, path);
  return found == nullptr ? std::vector<SourceNode>() : found->items;
}

std::map<std::string, std::string> Labels(const SourceNode& node, const std::string& path) {
  std::map<std::string, std::string> labels;
  if (const SourceNode* found = Find(node, path)) {
    for (const SourceEntry& entry : found->entries) labels[entry.key] = entry.value.text;
  }
  return labels;
}

bool Selects(const std::map<std::string, std::string>& selector,
             const std::map<std::string, std::string>& labels) {
  return !selector.empty() && std::includes(labels.begin(), labels.end(), selector.begin(), selector.end());
}

// The documents of a file; duplicate keys, anchors and tags are errors of the reader.
std::vector<SourceNode> Documents(const std::string& file, const std::string& text) {
  std::vector<SourceNode> documents;
  for (absl::string_view part : absl::StrSplit(text, "\n---\n")) {
    absl::StatusOr<SourceNode> node = ParseSource({file, std::string(part) + "\n"});
    EXPECT_TRUE(node.ok()) << node.status();
    if (node.ok()) documents.push_back(*std::move(node));
  }
  return documents;
}

std::vector<SourceNode> Objects() {
  std::vector<SourceNode> objects;
  const SourceNode kustomization =
      Documents("kustomization.yaml", ReadFile(kBase + "kustomization.yaml")).at(0);
  for (const SourceNode& file : List(kustomization, "resources")) {
    for (SourceNode& object : Documents(file.text, ReadFile(kBase + file.text))) {
      objects.push_back(std::move(object));
    }
  }
  return objects;
}

std::string Name(const SourceNode& object) {
  return absl::StrCat(Text(object, "kind"), "/", Text(object, "metadata.name"));
}

SourceNode Object(const std::string& name) {
  for (SourceNode& object : Objects()) {
    if (Name(object) == name) return object;
  }
  ADD_FAILURE() << name << " is not there";
  return {};
}

std::vector<SourceNode> OfKind(const std::string& kind) {
  std::vector<SourceNode> objects = Objects();
  std::erase_if(objects, [&](const SourceNode& object) { return Text(object, "kind") != kind; });
  return objects;
}

const char* const kDaemons[] = {"ballast-coordinator", "ballast-worker"};

SourceNode Pod(const std::string& daemon) {
  return *Find(Object("StatefulSet/" + daemon), "spec.template.spec");
}
SourceNode Container(const std::string& daemon) { return List(Pod(daemon), "containers").at(0); }

std::vector<std::string> Arguments(const std::string& daemon) {
  std::vector<std::string> arguments;
  for (const SourceNode& argument : List(Container(daemon), "args")) arguments.push_back(argument.text);
  return arguments;
}

// Every field name that the objects may have; labels apart. The types behind them were checked with
// TypeScript's against those of the package kubernetes-types 1.30.
const std::set<std::string> kFields = {"accessModes",
                                       "allowPrivilegeEscalation",
                                       "apiVersion",
                                       "args",
                                       "automountServiceAccountToken",
                                       "capabilities",
                                       "claimName",
                                       "clusterIP",
                                       "command",
                                       "containerPort",
                                       "containers",
                                       "cpu",
                                       "defaultMode",
                                       "drop",
                                       "enableServiceLinks",
                                       "env",
                                       "failureThreshold",
                                       "fieldPath",
                                       "fieldRef",
                                       "from",
                                       "fsGroup",
                                       "fsGroupChangePolicy",
                                       "httpGet",
                                       "image",
                                       "ingress",
                                       "kind",
                                       "labelSelector",
                                       "labels",
                                       "limits",
                                       "livenessProbe",
                                       "matchLabels",
                                       "maxSkew",
                                       "maxUnavailable",
                                       "memory",
                                       "metadata",
                                       "mountPath",
                                       "name",
                                       "namespace",
                                       "namespaceSelector",
                                       "path",
                                       "periodSeconds",
                                       "persistentVolumeClaim",
                                       "podManagementPolicy",
                                       "podSelector",
                                       "policyTypes",
                                       "port",
                                       "ports",
                                       "publishNotReadyAddresses",
                                       "readOnly",
                                       "readOnlyRootFilesystem",
                                       "readinessProbe",
                                       "replicas",
                                       "requests",
                                       "resources",
                                       "runAsGroup",
                                       "runAsNonRoot",
                                       "runAsUser",
                                       "seccompProfile",
                                       "secret",
                                       "secretName",
                                       "securityContext",
                                       "selector",
                                       "serviceName",
                                       "spec",
                                       "storage",
                                       "targetPort",
                                       "template",
                                       "terminationGracePeriodSeconds",
                                       "timeoutSeconds",
                                       "topologyKey",
                                       "topologySpreadConstraints",
                                       "type",
                                       "updateStrategy",
                                       "valueFrom",
                                       "volumeClaimTemplates",
                                       "volumeMounts",
                                       "volumes",
                                       "whenUnsatisfiable"};

void CheckFields(const std::string& where, const SourceNode& node) {
  for (const SourceEntry& entry : node.entries) {
    const std::string path = absl::StrCat(where, ".", entry.key);
    if (absl::EndsWith(where, "labels") || absl::EndsWith(where, "matchLabels") ||
        absl::EndsWith(where, ".selector")) {
      if (absl::StrContains(entry.key, '/')) continue;
    }
    EXPECT_TRUE(kFields.count(entry.key)) << path;
    CheckFields(path, entry.value);
  }
  for (const SourceNode& item : node.items) CheckFields(where, item);
}

TEST(Kubernetes, ObjectsAreWhole) {
  const std::vector<SourceNode> objects = Objects();
  EXPECT_EQ(objects.size(), 9u);
  std::set<std::string> names;
  for (const SourceNode& object : objects) {
    CheckFields(Name(object), object);
    EXPECT_TRUE(names.insert(Name(object)).second) << Name(object) << " stands twice";
    EXPECT_NE(Text(object, "apiVersion"), "") << Name(object);
    EXPECT_EQ(Labels(object, "metadata.labels")["app.kubernetes.io/part-of"], "ballast") << Name(object);
    EXPECT_EQ(Text(object, "metadata.namespace"), Text(object, "kind") == "Namespace" ? "" : "ballast");
  }
}

TEST(Kubernetes, NamesAgree) {
  for (const std::string daemon : kDaemons) {
    const SourceNode set = Object("StatefulSet/" + daemon);
    const SourceNode container = Container(daemon);
    const auto labels = Labels(set, "spec.template.metadata.labels");
    EXPECT_TRUE(Selects(Labels(set, "spec.selector.matchLabels"), labels)) << daemon;
    std::map<std::string, std::string> ports;
    for (const SourceNode& port : List(container, "ports"))
      ports[Text(port, "name")] = Text(port, "containerPort");

    const SourceNode service = Object("Service/" + Text(set, "spec.serviceName"));
    EXPECT_TRUE(Selects(Labels(service, "spec.selector"), labels)) << daemon;
    for (const SourceNode& port : List(service, "spec.ports")) {
      ASSERT_TRUE(ports.count(Text(port, "targetPort"))) << daemon;
      EXPECT_EQ(Text(port, "port"), ports[Text(port, "targetPort")])
          << "a headless service leads to the pod's own ports";
    }
    for (const char* probe : {"livenessProbe", "readinessProbe"}) {
      if (Find(container, probe) == nullptr) continue;
      EXPECT_TRUE(ports.count(Text(container, absl::StrCat(probe, ".httpGet.port"))))
          << daemon << " " << probe;
    }
    for (const char* kind : {"NetworkPolicy", "PodDisruptionBudget"}) {
      for (const SourceNode& object : OfKind(kind)) {
        const std::string selector = kind == std::string("NetworkPolicy") ? "spec.podSelector.matchLabels"
                                                                          : "spec.selector.matchLabels";
        if (!Selects(Labels(object, selector), labels)) continue;
        for (const SourceNode& rule : List(object, "spec.ingress")) {
          for (const SourceNode& port : List(rule, "ports"))
            EXPECT_TRUE(ports.count(Text(port, "port"))) << Name(object);
        }
      }
    }

    std::set<std::string> volumes;
    for (const SourceNode& volume : List(Pod(daemon), "volumes")) {
      volumes.insert(Text(volume, "name"));
      if (Find(volume, "persistentVolumeClaim") != nullptr) {
        Object("PersistentVolumeClaim/" + Text(volume, "persistentVolumeClaim.claimName"));
      }
    }
    for (const SourceNode& claim : List(set, "spec.volumeClaimTemplates"))
      volumes.insert(Text(claim, "metadata.name"));
    for (const SourceNode& mount : List(container, "volumeMounts"))
      EXPECT_TRUE(volumes.erase(Text(mount, "name"))) << daemon;
    EXPECT_TRUE(volumes.empty()) << daemon << ": not mounted: " << absl::StrJoin(volumes, " ");
  }
  // Both daemons and nothing else may reach the coordinator; every pod is under a policy.
  EXPECT_EQ(OfKind("NetworkPolicy").size(), std::size(kDaemons));
}

TEST(Kubernetes, PodsAreRestricted) {
  EXPECT_EQ(Labels(Object("Namespace/ballast"), "metadata.labels")["pod-security.kubernetes.io/enforce"],
            "restricted");
  for (const std::string daemon : kDaemons) {
    const SourceNode pod = Pod(daemon);
    EXPECT_EQ(Text(pod, "securityContext.runAsNonRoot"), "true");
    EXPECT_EQ(Text(pod, "securityContext.seccompProfile.type"), "RuntimeDefault");
    EXPECT_EQ(Text(pod, "automountServiceAccountToken"), "false");
    for (const char* host : {"hostNetwork", "hostPID", "hostIPC"}) EXPECT_EQ(Find(pod, host), nullptr);
    for (const SourceNode& container : List(pod, "containers")) {
      EXPECT_EQ(Text(container, "securityContext.allowPrivilegeEscalation"), "false");
      EXPECT_EQ(Text(container, "securityContext.readOnlyRootFilesystem"), "true");
      ASSERT_EQ(List(container, "securityContext.capabilities.drop").size(), 1u);
      EXPECT_EQ(List(container, "securityContext.capabilities.drop")[0].text, "ALL");
      EXPECT_NE(Text(container, "resources.limits.memory"), "");
    }
    for (const SourceNode& volume : List(pod, "volumes")) EXPECT_EQ(Find(volume, "hostPath"), nullptr);
  }
}

TEST(Kubernetes, ArgumentsAreTheDaemons) {
  for (const std::string daemon : kDaemons) {
    const SourceNode container = Container(daemon);
    ASSERT_EQ(List(container, "command").size(), 1u);
    EXPECT_EQ(List(container, "command")[0].text, "/opt/ballast/bin/" + daemon);
    const std::set<std::string> known = FlagsIn(Help(daemon));
    std::set<std::string> variables;
    for (const SourceNode& variable : List(container, "env")) variables.insert(Text(variable, "name"));
    std::set<std::string> listening;
    static const std::regex use("\\$\\(([A-Z_]+)\\)");
    for (const std::string& argument : Arguments(daemon)) {
      const std::vector<std::string> halves = absl::StrSplit(argument, absl::MaxSplits('=', 1));
      ASSERT_EQ(halves.size(), 2u) << argument;
      EXPECT_TRUE(known.count(halves[0])) << argument;
      for (std::sregex_iterator it(argument.begin(), argument.end(), use), end; it != end; ++it) {
        EXPECT_TRUE(variables.count((*it)[1])) << argument;
      }
      if (absl::StartsWith(halves[1], "0.0.0.0:")) listening.insert(halves[1].substr(8));
      if (!absl::StartsWith(halves[1], "/")) continue;
      bool mounted = false;
      for (const SourceNode& mount : List(container, "volumeMounts")) {
        mounted = mounted || absl::StartsWith(halves[1], Text(mount, "mountPath") + "/");
      }
      EXPECT_TRUE(mounted) << argument << " is below no volume";
    }
    std::set<std::string> ports;
    for (const SourceNode& port : List(container, "ports")) ports.insert(Text(port, "containerPort"));
    EXPECT_EQ(listening, ports) << daemon;
  }
}

// As a kubelet would start them, but for folders and ports of this machine.
TEST(Kubernetes, DaemonsComeUpWithTheArguments) {
  Cluster cluster;
  const std::string root = cluster.dir().path();
  // What docs/operate.md says to make the Secrets from.
  DevCertificates request;
  request.folder = root + "/certs";
  request.workers = {"ballast-worker-0", "ballast-worker-1"};
  request.operators = {"me"};
  request.hosts = {"ballast-coordinator"};
  request.force = true;
  ASSERT_TRUE(WriteDevCertificates(request).ok());
  std::filesystem::create_directories(root + "/volume");
  auto command = [&](const std::string& daemon, std::vector<std::pair<std::string, std::string>> more) {
    more.insert(more.end(), {{"/etc/ballast/certs", request.folder},
                             {"/var/lib/ballast", root + "/volume"},
                             {"0.0.0.0:7070", "127.0.0.1:0"},
                             {"0.0.0.0:7071", "127.0.0.1:0"},
                             {"0.0.0.0:7072", "127.0.0.1:0"}});
    std::vector<std::string> words = {cluster.binary(daemon)};
    for (const std::string& argument : Arguments(daemon))
      words.push_back(absl::StrReplaceAll(argument, more));
    return words;
  };
  const std::string port_file = root + "/ports";
  std::vector<std::string> coordinator = command("ballast-coordinator", {});
  coordinator.insert(coordinator.end(), {"--port-file", port_file});
  cluster.StartCoordinatorBy(coordinator, port_file);
  for (int i = 0; i < 2; ++i) {
    cluster.StartWorkerBy(
        i,
        command("ballast-worker", {{"ballast-coordinator:7070", absl::StrCat("127.0.0.1:", cluster.port())},
                                   {"$(POD_NAME)", absl::StrCat("ballast-worker-", i)},
                                   {"$(NODE_NAME)", "node"},
                                   {"$(POD_IP)", "127.0.0.1"}}));
  }
  ASSERT_TRUE(cluster.WaitForWorkers(2, 20));
  const std::string ports = ReadFile(port_file);
  for (const char* port : {"grpc=", "http=", "metrics="})
    EXPECT_NE(ports.find(port), std::string::npos) << ports;
  ASSERT_TRUE(cluster.Submit(SmallJob("demo", 2, 5)).ok());
  EXPECT_TRUE(cluster.WaitForJob("demo", 60, IsFinal));
  EXPECT_EQ(cluster.Job("demo")->state(), v1::JOB_STATE_SUCCEEDED);
}

TEST(Kubernetes, KustomizeBuildsTheSame) {
  TempDir dir;
  Process kubectl({"/usr/bin/kubectl", "kustomize", kBase}, dir / "rendered.yaml");
  const int code = kubectl.Wait(30).value_or(-1);
  if (code == 127) GTEST_SKIP() << "there is no kubectl here";
  ASSERT_EQ(code, 0) << kubectl.Output();
  std::vector<std::string> rendered;
  for (const SourceNode& object : Documents("rendered.yaml", kubectl.Output())) {
    rendered.push_back(Name(object));
    CheckFields(Name(object), object);
    for (const SourceNode& container : List(object, "spec.template.spec.containers")) {
      EXPECT_EQ(Text(container, "image"), "registry.example/ballast:0.1.0")
          << "the image is set in one place";
    }
  }
  std::vector<std::string> written;
  for (const SourceNode& object : Objects()) written.push_back(Name(object));
  std::sort(rendered.begin(), rendered.end());
  std::sort(written.begin(), written.end());
  EXPECT_EQ(rendered, written);
}

}  // namespace
}  // namespace ballast
