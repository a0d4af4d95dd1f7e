#pragma once

#include <txscope/observing/opentelemetry_observer.hpp>

#include <opentelemetry/common/attribute_value.h>
#include <opentelemetry/nostd/shared_ptr.h>
#include <opentelemetry/nostd/string_view.h>
#include <opentelemetry/trace/span.h>
#include <opentelemetry/trace/span_startoptions.h>
#include <opentelemetry/trace/tracer.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

/// txscope's spans in opentelemetry-cpp, with whatever exporter and sampler the program has there:
///
/// ```cpp
/// OpenTelemetryTracer tracer{opentelemetry::trace::Provider::GetTracerProvider()->GetTracer("txscope")};
/// txscope::OpenTelemetryObserver traces{tracer};
/// txscope::AsyncSessionFactory sessions{io, "postgresql:///app", {.observer = &traces}};
/// ```
///
/// A scope lies within the span that is active on the thread where it begins. To be copied: it belongs to
/// no version of opentelemetry-cpp, and txscope needs none.
class OpenTelemetryTracer : public txscope::Tracer {
public:
    explicit OpenTelemetryTracer(
        opentelemetry::nostd::shared_ptr<opentelemetry::trace::Tracer> tracer)
        : tracer_{std::move(tracer)} {}

    std::unique_ptr<Span> start(std::string_view name, Kind kind,
                                std::span<const Attribute> attributes, Span* parent) override {
        opentelemetry::trace::StartSpanOptions options;
        options.kind = kind == Kind::client ? opentelemetry::trace::SpanKind::kClient
                                            : opentelemetry::trace::SpanKind::kInternal;
        if (parent != nullptr) options.parent = static_cast<Live*>(parent)->span->GetContext();
        return std::make_unique<Live>(
            tracer_->StartSpan(view(name), values_of(attributes), options));
    }

private:
    using Values = std::vector<
        std::pair<opentelemetry::nostd::string_view, opentelemetry::common::AttributeValue>>;

    static opentelemetry::nostd::string_view view(std::string_view text) {
        return {text.data(), text.size()};
    }
    static opentelemetry::common::AttributeValue value_of(const Attribute& attribute) {
        if (const auto* number = std::get_if<std::int64_t>(&attribute.value)) return *number;
        return view(std::get<std::string_view>(attribute.value));
    }
    static Values values_of(std::span<const Attribute> attributes) {
        Values values;
        for (const Attribute& each : attributes)
            values.emplace_back(view(each.key), value_of(each));
        return values;
    }

    struct Live : Span {
        explicit Live(opentelemetry::nostd::shared_ptr<opentelemetry::trace::Span> started)
            : span{std::move(started)} {}

        void set(const Attribute& attribute) override {
            span->SetAttribute(view(attribute.key), value_of(attribute));
        }
        void add_event(std::string_view name, std::span<const Attribute> attributes) override {
            span->AddEvent(view(name), values_of(attributes));
        }
        void fail(std::string_view description) override {
            span->SetStatus(opentelemetry::trace::StatusCode::kError, view(description));
        }
        void end() override { span->End(); }
        std::string traceparent() const override {
            const auto context = span->GetContext();
            if (!context.IsValid()) return {};
            std::array<char, 32> trace;
            std::array<char, 16> id;
            std::array<char, 2> flags;
            context.trace_id().ToLowerBase16(trace);
            context.span_id().ToLowerBase16(id);
            context.trace_flags().ToLowerBase16(flags);
            return "00-" + std::string{trace.data(), trace.size()} + "-" +
                   std::string{id.data(), id.size()} + "-" +
                   std::string{flags.data(), flags.size()};
        }

        const opentelemetry::nostd::shared_ptr<opentelemetry::trace::Span> span;
    };

    const opentelemetry::nostd::shared_ptr<opentelemetry::trace::Tracer> tracer_;
};
