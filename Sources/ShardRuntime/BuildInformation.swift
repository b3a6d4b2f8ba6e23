import Glibc

/// Where this program comes from. The build of an image sets the variables; a build by hand says
/// so.
enum BuildInformation {
    static let commit = variable("CHAT_BUILD_COMMIT") ?? "unknown"
    static let builtAt = variable("CHAT_BUILD_TIME") ?? "unknown"

    private static func variable(_ name: String) -> String? {
        // Safety: getenv returns NULL or a C string that nobody changes while the program runs.
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }
}
