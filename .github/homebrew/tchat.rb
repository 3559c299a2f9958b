# Template of a Homebrew formula: copy it into a tap, and fill in what stands in capitals.
# `brew update-python-resources tchat` adds the resources of the dependencies.
class Tchat < Formula
  include Language::Python::Virtualenv

  desc "Chat in the terminal with local, quantized language models"
  homepage "HOMEPAGE"
  url "URL_OF_THE_SDIST_OF_THE_RELEASE"
  sha256 "SHA256_OF_THE_SDIST"
  license "Apache-2.0"

  depends_on "cmake" => :build
  depends_on "ninja" => :build
  depends_on "python@3.13"

  def install
    backend = OS.mac? && Hardware::CPU.arm? ? "-DGGML_METAL=on" : "-DGGML_NATIVE=off"
    ENV["CMAKE_ARGS"] = "#{backend} -DGGML_RPC=on"
    virtualenv_install_with_resources
    generate_completions_from_executable(bin/"tchat", "--show-completion",
                                         shells: [:bash, :zsh, :fish], shell_parameter_format: :arg)
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/tchat --version")
    assert_match "# Models", shell_output("#{bin}/tchat help models")
  end
end
