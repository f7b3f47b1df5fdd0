# Completes mlm in PowerShell. Made by: mlm completion powershell
Register-ArgumentCompleter -Native -CommandName mlm -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $finished = @($commandAst.CommandElements |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
        ForEach-Object { $_.Extent.Text.Trim('"', "'") })
    if ($finished.Count -eq 0) { return }
    $command, $arguments = $finished
    $env:_MLM_COMPLETE = 'powershell'
    $env:_MLM_WORD = $wordToComplete.Trim('"', "'")
    try { $answer = @(& $command @arguments 2>$null) }
    finally { Remove-Item Env:_MLM_COMPLETE, Env:_MLM_WORD -ErrorAction SilentlyContinue }
    if ($answer.Count -lt 2) { return } # files: PowerShell completes them itself
    foreach ($line in $answer[1..($answer.Count - 1)]) {
        $word, $meaning = $line -split "`t", 2
        $tip = if ($meaning) { $meaning } else { $word }
        $typed = if ($word -match '[^\w.:/=+-]') { "'" + $word.Replace("'", "''") + "'" } else { $word }
        [System.Management.Automation.CompletionResult]::new($typed, $word, 'ParameterValue', $tip)
    }
}
