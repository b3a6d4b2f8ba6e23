// swift-tools-version: 6.2
import PackageDescription

// One target is one room (see Sources/README.md), so that a wrong import is a compile error.
// The fuzz targets (scripts/fuzz.sh) are built only when they are asked for, with all rooms instrumented.
let isFuzzing = Context.environment["CHAT_SERVICE_FUZZ"] == "1"

let settings: [SwiftSetting] = (isFuzzing ? [.unsafeFlags(["-sanitize=fuzzer,address", "-DDEBUG"])] : []) + [
    .enableExperimentalFeature("Lifetimes"),
    .enableUpcomingFeature("ExistentialAny"),
    .strictMemorySafety(),
    // Exclusive access is proved by the compiler where it can be; the rest is checked at run time in
    // debug builds, in which all unit tests run. In release builds those checks cost a twentieth of
    // the processor on the message path.
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

func room(
    _ name: String, _ dependencies: [Target.Dependency] = [], resources: [Resource] = []
) -> Target {
    .target(name: name, dependencies: dependencies, resources: resources, swiftSettings: settings)
}

func tests(_ room: String, _ others: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: "\(room)Tests", dependencies: [.byName(name: room)] + others, swiftSettings: settings)
}

/// One program with all fuzz targets. libFuzzer is linked as a library, since SwiftPM gives a program its main;
/// where the toolchain has it is known to scripts/fuzz.sh.
let fuzzing: [Target] = [
    .target(name: "CFuzzer", path: "Tests/Fuzz/CFuzzer"),
    .executableTarget(
        name: "fuzz", dependencies: ["API", "Bytes", "CFuzzer", "ChatModel", "Identity", "Ingest", "Stores", "Wire"],
        path: "Tests/Fuzz/Targets",
        swiftSettings: [.strictMemorySafety(), .unsafeFlags(["-sanitize=address"])],
        linkerSettings: [.unsafeFlags([Context.environment["CHAT_SERVICE_FUZZER_LIBRARY"] ?? "", "-lstdc++"])]),
]

let package = Package(
    name: "chat-service",
    products: [.executable(name: "chat-service", targets: ["chat-service"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    ],
    targets: [
        .target(name: "CLinux"),
        .target(name: "CCurl", linkerSettings: [.linkedLibrary("curl")]),
        .target(name: "CCrypto", linkerSettings: [.linkedLibrary("crypto")]),
        .target(name: "CTLS", linkerSettings: [.linkedLibrary("ssl"), .linkedLibrary("crypto")]),
        .target(name: "CSimdjson", linkerSettings: [.linkedLibrary("simdjson")]),
        .systemLibrary(
            name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),

        room("Bytes", ["CLinux"]),
        room("Rings"),
        room("ChatModel", ["Bytes"]),
        room("Wire", ["Bytes", "ChatModel", "CSimdjson", "CZlib"]),
        room("Conversations", ["Bytes", "ChatModel"]),
        room(
            "Observability",
            [
                "Bytes", "ChatModel", "Rings", "CLinux",
                .product(name: "Logging", package: "swift-log"),
            ]),
        room(
            "Stores",
            ["Bytes", "Rings", "ChatModel", "Reactor", "Observability", "CSQLite", "CLinux"]),
        room("Engine", ["Bytes", "ChatModel"]),
        room("Ingest", ["Bytes", "ChatModel", "Wire"]),
        room(
            "Search",
            ["Bytes", "Rings", "ChatModel", "Wire", "Reactor", "Observability", "Stores", "CLinux"]),
        room(
            "API", ["Bytes", "ChatModel", "Wire", "Identity", "Search", "Stores"],
            resources: [
                .embedInCode("Web/index.html"), .embedInCode("Web/openapi.yaml"),
                .embedInCode("Web/asyncapi.yaml"), .embedInCode("Web/words.js"),
                .embedInCode("Web/console.html"), .embedInCode("Web/console-style.css"),
                .embedInCode("Web/console-texts.js"), .embedInCode("Web/console-link.js"),
                .embedInCode("Web/console-shell.js"), .embedInCode("Web/console-content.js"),
                .embedInCode("Web/console-entries.js"), .embedInCode("Web/console-queue.js"),
                .embedInCode("Web/console-log.js"), .embedInCode("Web/console-reply.js"),
                .embedInCode("Web/console-details.js"), .embedInCode("Web/console-main.js"),
                .embedInCode("Web/widget-texts.js"), .embedInCode("Web/widget-style.css"),
                .embedInCode("Web/widget-view.js"),
                .embedInCode("Web/widget-chat.js"), .embedInCode("Web/widget-element.js"),
            ]),
        room(
            "ShardRuntime",
            [
                "Bytes", "Rings", "ChatModel", "Wire", "Ingest", "Reactor", "Conversations",
                "Stores", "Search", "Engine",
                "Identity", "API", "Observability", "CLinux",
                .product(name: "Logging", package: "swift-log"),
            ]),
        .executableTarget(
            name: "chat-service",
            dependencies: [
                "Bytes", "ShardRuntime", "Observability", "ChatModel", "Identity", "Stores", "Wire",
                "CLinux",
                "CCurl",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ], swiftSettings: settings),
        room("Identity", ["Bytes", "ChatModel", "Rings", "Wire", "Stores", "CCrypto", "CLinux"]),
        room("Reactor", ["Bytes", "Rings", "CLinux", "CTLS"]),

        // The whole service in one thread, from a seed. Tests and `simulate` use it; the product does not.
        room(
            "Simulation",
            [
                "Bytes", "Rings", "ChatModel", "Wire", "Reactor", "Conversations", "Stores",
                "Identity", "ShardRuntime",
                .product(name: "Logging", package: "swift-log"),
            ]),
        .executableTarget(name: "simulate", dependencies: ["Simulation"], swiftSettings: settings),

        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: settings),
        .target(
            name: "CTLSClient", path: "Tests/CTLSClient",
            linkerSettings: [.linkedLibrary("ssl"), .linkedLibrary("crypto")]),
        .target(name: "CAllocations", path: "Benchmarks/CAllocations"),
        .executableTarget(
            name: "parser-benchmark",
            dependencies: ["API", "Bytes", "CAllocations", "CLinux", "Ingest", "Rings", "Wire"],
            path: "Benchmarks/ParserBenchmark", swiftSettings: settings),

        tests("Bytes", ["TestSupport"]),
        tests("Rings", ["TestSupport", "Reactor", "CLinux"]),
        tests("Reactor", ["TestSupport", "Bytes", "Rings", "CLinux", "CTLSClient"]),
        tests("Observability"),
        tests("Wire", ["Bytes"]),
        tests("ChatModel", ["Bytes"]),
        tests("Conversations", ["Bytes", "ChatModel"]),
        tests("Engine", ["Bytes", "ChatModel"]),
        tests("Identity", ["Bytes", "ChatModel", "Stores", "Wire"]),
        tests("Stores", ["Bytes", "Rings", "ChatModel", "Reactor", "Wire", "CLinux"]),
        tests("Search", ["Bytes", "Rings", "ChatModel", "Reactor", "Stores", "CLinux"]),
        tests("API", ["Bytes", "ChatModel", "Wire", "Identity", "Ingest", "Stores"]),
        tests("Ingest", ["Bytes", "Wire"]),
        tests("ShardRuntime", ["Bytes", "ChatModel", "Observability", "Reactor"]),
        tests("Simulation", ["simulate", "Bytes", "Reactor", "ChatModel", "Stores"]),
        .testTarget(name: "StyleTests", swiftSettings: settings),
    ] + (isFuzzing ? fuzzing : []),
    swiftLanguageModes: [.v6],
    cxxLanguageStandard: .cxx17
)
