import Testing

@testable import ShardRuntime

@Suite struct EnvironmentFileTests {
    @Test func `Settings are lines of a name and a value`() {
        let file = EnvironmentFile(
            text: "LOG_LEVEL=DEBUG\r\n  PORT = 80 \nA=\"x y\"\nB='z'\nC=\nD=a=b\nE=\"\nA=last")
        #expect(
            file.values == [
                "LOG_LEVEL": "DEBUG", "PORT": "80", "A": "last", "B": "z", "C": "", "D": "a=b",
                "E": "\"",
            ])
    }

    @Test(arguments: [
        "", "\n\n", "# LOG_LEVEL=DEBUG", "; LOG_LEVEL=DEBUG", "LOG_LEVEL", "=DEBUG", "  ",
    ])
    func `Any other line is passed over`(_ text: String) {
        #expect(EnvironmentFile(text: text).values.isEmpty)
    }

    @Test func `A file that is not there is none`() {
        #expect(EnvironmentFile(path: "/nonexistent/settings") == nil)
        #expect(EnvironmentFile(path: "/") == nil)
    }

    @Test func `A file without end is given up`() {
        #expect(EnvironmentFile(path: "/dev/zero") == nil)
    }
}
