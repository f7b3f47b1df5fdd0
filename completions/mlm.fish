# Completes mlm in fish. Made by: mlm completion fish
function __mlm_complete
    set -l finished (commandline -opc)
    set -l begun (commandline -ct)
    set -l answer (env _MLM_COMPLETE=fish _MLM_WORD="$begun" $finished 2>/dev/null)
    set -l start (string match -r -- '^--[^=]*=' "$begun")
    set -l rest (string replace -r -- '^--[^=]*=' '' "$begun")
    switch "$answer[1]"
        case files
            string replace -r -- '^' "$start" (__fish_complete_path "$rest")
        case folders
            string replace -r -- '^' "$start" (__fish_complete_directories "$rest")
        case words
            string join \n -- $answer[2..-1]
    end
end

complete --command mlm --no-files --arguments '(__mlm_complete)'
