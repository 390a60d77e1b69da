// Charts as SVG text, for a page that opens without a network: no script, no style from elsewhere.
#pragma once

#include <string>
#include <vector>

namespace ballast {

// "&lt;" for "<" and so on: text that is safe inside an element or a quoted attribute.
std::string EscapeHtml(const std::string& text);

// The colour of the i-th series; distinct also for people who see few colours (Okabe and Ito).
std::string SeriesColour(size_t index);

struct Series {
  std::string name;
  std::vector<double> values;
};

struct ChartOptions {
  std::string title = "";
  std::string x_label = "";
  int width = 720;
  int height = 220;
  int first_x = 0;       // x of the first value
  double y_floor = 0;    // the axis starts here, or lower when a value is
  double reference = 0;  // a dashed line; 0 = none
  std::string reference_name = "";
};

// One line per series over x = first_x, first_x + 1, ...; more values than fit are averaged in equal runs.
std::string LineChart(const std::vector<Series>& series, const ChartOptions& options);

// One bar per name, its parts stacked: parts[i].values[j] belongs to names[j].
std::string StackedBars(const std::vector<std::string>& names, const std::vector<Series>& parts,
                        const ChartOptions& options);

}  // namespace ballast
