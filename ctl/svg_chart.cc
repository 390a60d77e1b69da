#include "ctl/svg_chart.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ballast {
namespace {

constexpr int kLeft = 56, kRight = 12, kTop = 28, kBottom = 34;
constexpr size_t kPointsMax = 360;

// 1, 2 or 5 times a power of ten: about four steps from low to high.
double NiceStep(double span) {
  const double raw = span / 4;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  for (double step : {1.0, 2.0, 5.0}) {
    if (raw <= step * power) return step * power;
  }
  return 10 * power;
}

struct Axis {
  double low = 0, high = 1, step = 0.25;
  int top = 0, bottom = 0;
  double Y(double value) const { return bottom - (value - low) / (high - low) * (bottom - top); }
};

Axis MakeAxis(double low, double high, const ChartOptions& options) {
  Axis axis;
  if (!(high > low)) high = low + 1;
  axis.step = NiceStep(high - low);
  axis.low = std::floor(low / axis.step + 1e-9) * axis.step;
  axis.high = std::ceil(high / axis.step - 1e-9) * axis.step;
  axis.top = kTop;
  axis.bottom = options.height - kBottom;
  return axis;
}

std::string Begin(const ChartOptions& options) {
  return absl::StrFormat(
      "<svg viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"%s\">"
      "<text class=\"title\" x=\"%d\" y=\"16\">%s</text>\n",
      options.width, options.height, options.width, options.height, EscapeHtml(options.title), kLeft,
      EscapeHtml(options.title));
}

std::string Grid(const Axis& axis, const ChartOptions& options) {
  std::string out;
  const int ticks = static_cast<int>(std::lround((axis.high - axis.low) / axis.step));
  for (int i = 0; i <= ticks; ++i) {
    const double value = axis.low + i * axis.step;
    absl::StrAppendFormat(&out,
                          "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
                          "<text class=\"tick\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n",
                          kLeft, options.width - kRight, axis.Y(value), axis.Y(value), kLeft - 6,
                          axis.Y(value) + 4, value);
  }
  if (options.reference > 0) {
    absl::StrAppendFormat(&out,
                          "<line class=\"reference\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"><title>%s: "
                          "%.4f</title></line>\n",
                          kLeft, options.width - kRight, axis.Y(options.reference), axis.Y(options.reference),
                          EscapeHtml(options.reference_name), options.reference);
  }
  return out;
}

// Means of equal runs, at most kPointsMax of them, each with the index of its middle.
struct Point {
  double x = 0, y = 0;
};
std::vector<Point> Thin(const std::vector<double>& values) {
  std::vector<Point> points;
  const size_t count = std::min(values.size(), kPointsMax);
  for (size_t i = 0; i < count; ++i) {
    const size_t begin = i * values.size() / count, end = (i + 1) * values.size() / count;
    Point point{static_cast<double>(begin + end - 1) / 2, 0};
    for (size_t j = begin; j < end; ++j) point.y += values[j] / static_cast<double>(end - begin);
    points.push_back(point);
  }
  return points;
}

}  // namespace

std::string EscapeHtml(const std::string& text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string SeriesColour(size_t index) {
  static constexpr const char* kColours[] = {"#0072b2", "#e69f00", "#009e73", "#cc79a7",
                                             "#56b4e9", "#d55e00", "#8a7a00", "#6b6b6b"};
  return kColours[index % (sizeof kColours / sizeof *kColours)];
}

std::string LineChart(const std::vector<Series>& series, const ChartOptions& options) {
  double low = options.y_floor, high = std::max(options.y_floor, options.reference);
  size_t length = 1;
  std::vector<std::vector<Point>> lines;
  for (const Series& one : series) {
    lines.push_back(Thin(one.values));
    length = std::max(length, one.values.size());
    for (const Point& point : lines.back()) {
      low = std::min(low, point.y);
      high = std::max(high, point.y);
    }
  }
  const Axis axis = MakeAxis(low, high, options);
  const double width = options.width - kLeft - kRight;
  const double per_x = width / std::max<double>(1, static_cast<double>(length - 1));
  std::string out = Begin(options) + Grid(axis, options);
  for (size_t i = 0; i < series.size(); ++i) {
    absl::StrAppendFormat(&out, "<polyline fill=\"none\" stroke=\"%s\" points=\"", SeriesColour(i));
    for (const Point& point : lines[i])
      absl::StrAppendFormat(&out, "%.1f,%.1f ", kLeft + point.x * per_x, axis.Y(point.y));
    absl::StrAppend(&out, "\"><title>", EscapeHtml(series[i].name), "</title></polyline>\n");
  }
  absl::StrAppendFormat(&out,
                        "<text class=\"tick\" x=\"%d\" y=\"%d\">%d</text>"
                        "<text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"end\">%s %d</text></svg>\n",
                        kLeft, axis.bottom + 16, options.first_x, options.width - kRight, axis.bottom + 16,
                        EscapeHtml(options.x_label), options.first_x + static_cast<int>(length) - 1);
  return out;
}

std::string StackedBars(const std::vector<std::string>& names, const std::vector<Series>& parts,
                        const ChartOptions& options) {
  double high = 0;
  for (size_t j = 0; j < names.size(); ++j) {
    double sum = 0;
    for (const Series& part : parts) sum += part.values[j];
    high = std::max(high, sum);
  }
  const Axis axis = MakeAxis(0, high, options);
  std::string out = Begin(options) + Grid(axis, options);
  const double room = static_cast<double>(options.width - kLeft - kRight) /
                      std::max<double>(1, static_cast<double>(names.size()));
  for (size_t j = 0; j < names.size(); ++j) {
    const double x = kLeft + room * (static_cast<double>(j) + 0.15);
    double sum = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      const double value = parts[i].values[j];
      absl::StrAppendFormat(
          &out,
          "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"><title>%s, "
          "%s: %.4g</title></rect>\n",
          x, axis.Y(sum + value), 0.7 * room, axis.Y(sum) - axis.Y(sum + value),
          SeriesColour(parts.size() == 1 ? j : i), EscapeHtml(names[j]), EscapeHtml(parts[i].name), value);
      sum += value;
    }
    absl::StrAppendFormat(&out,
                          "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.4g</text>"
                          "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
                          x + 0.35 * room, axis.Y(sum) - 4, sum, x + 0.35 * room, axis.bottom + 16,
                          EscapeHtml(names[j]));
  }
  return out + "</svg>\n";
}

}  // namespace ballast
